# shellcheck shell=bash
# Sourced by judges: an emulated Azure of one's own, and a folder to work in. Both go when the judge ends.
#
#   emulated_azure SEED        starts it; $WORK is the folder, $WORK/ready.json the ready file
#   ready EXPRESSION           a value from the ready file, in jq's words
#   cannot_run REASON          ends a judge that lacks something
#   needs TOOL…                installs Debian packages where that is possible, or ends the judge

judge=$(basename "$(dirname "$(realpath "$0")")")
# Absolute, since judges go elsewhere.
AKV_BIN=$(realpath "${AKV_BIN:?the akv-archiver to judge, built with the feature emulator}")
mkdir -p "${AKV_CACHE:=target/interop}"
AKV_CACHE=$(realpath "$AKV_CACHE")
export AKV_BIN AKV_CACHE
WORK=$(mktemp -d)
export WORK

emulator=
leave() {
    # Wait, so that nothing still writes into the folder that goes.
    [ -z "$emulator" ] || { kill "$emulator" 2>/dev/null && wait "$emulator"; }
    rm -rf "$WORK"
}
trap leave EXIT
trap 'exit 1' INT TERM

cannot_run() {
    echo "$judge: cannot run: $*"
    exit 77
}

# A name is a Debian package, or TOOL:PACKAGE where the two differ.
needs() {
    local wanted missing=()
    for wanted; do
        [ -n "$(command -v "${wanted%%:*}")" ] || missing+=("${wanted##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || cannot_run "${missing[*]} must be installed"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
        >"$WORK/apt" 2>&1 || { tail -n 20 "$WORK/apt"; cannot_run "${missing[*]} cannot be installed"; }
}

ready() {
    jq -er "$1" "$WORK/ready.json"
}

emulated_azure() {
    "$AKV_BIN" emulator --seed "$1" --ready-file "$WORK/ready.json" >"$WORK/emulator" 2>&1 &
    emulator=$!
    # The ready file appears in one piece, once clients may come.
    until [ -s "$WORK/ready.json" ]; do
        kill -0 "$emulator" 2>/dev/null || { cat "$WORK/emulator"; echo "$judge: the emulator did not start"; exit 1; }
        sleep 0.1
    done
}
