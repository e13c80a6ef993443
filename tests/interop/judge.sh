# What judges share; sourced by tests/interop/<judge>/judge, which set `name` first. Knows no judge's checks.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
: "${AKV_BIN:?tests/interop/run sets it}" "${AKV_CACHE:?tests/interop/run sets it}"
work=$(mktemp -d)
emulator=
cleanup() {
    [ -z "$emulator" ] || { kill "$emulator" && wait "$emulator"; } 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# cannot WHY…: says why this judge cannot run, and ends it as skipped.
cannot() {
    echo "$*"
    exit 77
}

# need TOOL…: cannot run without these.
need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || cannot "$tool is not installed"
    done
}

# installed LOCK FUNCTION: sets `install` to a folder of the cache that FUNCTION, called with a folder, has filled once for
# this content of the file LOCK.
installed() {
    local hash
    hash=$(sha256sum "$1")
    install=$AKV_CACHE/$name-${hash:0:16}
    [ ! -e "$install/.complete" ] || return 0
    rm -rf "$install"
    mkdir -p "$install"
    "$2" "$install" >"$work/install.log" 2>&1 || { tail -n 20 "$work/install.log"; cannot "its packages cannot be installed"; }
    touch "$install/.complete"
}

# emulate SEED: starts the emulated Azure and sets the environment of its clients, for production host names.
emulate() {
    "$AKV_BIN" emulator --seed "$1" --ready-file "$work/ready.json" >"$work/emulator.log" 2>&1 &
    emulator=$!
    local tries=0
    until [ -s "$work/ready.json" ]; do
        tries=$((tries + 1))
        [ "$tries" -le 200 ] && kill -0 "$emulator" 2>/dev/null || { cat "$work/emulator.log"; echo "no emulator"; exit 1; }
        sleep 0.1
    done
    ready() { jq -er "$1" "$work/ready.json"; }
    HTTPS_PROXY=$(ready .proxy) CA=$(ready .ca_file) CONTROL=$(ready .control) READY=$work/ready.json WORK=$work
    AZURE_TENANT_ID=$(ready .tenant_id) AZURE_CLIENT_ID=$(ready .client_id) AZURE_CLIENT_SECRET=$(ready .client_secret)
    export HTTPS_PROXY CA CONTROL READY WORK AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET
    unset HTTP_PROXY http_proxy https_proxy ALL_PROXY all_proxy NO_PROXY no_proxy
}
