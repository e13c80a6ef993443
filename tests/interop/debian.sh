# For judges that are Debian packages; sourced after judge.sh.

# packages TOOL[:PACKAGE]…: installs what is missing where that is allowed; cannot run without it. A TOOL is a command, or the
# path of a file.
packages() {
    local wanted missing=()
    for wanted in "$@"; do
        command -v "${wanted%%:*}" >/dev/null || [ -e "${wanted%%:*}" ] || missing+=("${wanted##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || cannot "not installed: ${missing[*]}"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
        >"$work/apt.log" 2>&1 || { tail -n 20 "$work/apt.log"; cannot "cannot be installed: ${missing[*]}"; }
}
