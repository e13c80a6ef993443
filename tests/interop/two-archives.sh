# shellcheck shell=bash
# Sourced by judges of the format, after emulated-azure.sh: two archives of one vault, each with some history.
#
#   $WORK/directory   made in a local directory          $WORK/container   made in a container, fetched with curl
#
# Each folder has `archive`, `identity.txt`, `signer.key`, and `verifier` with the key that init printed to be pinned.

CONTAINER=https://archive.blob.core.windows.net/vaults

# call TOKEN METHOD URL [BODY]: a request by somebody who is not the archiver.
call() {
    curl --silent --show-error --fail --proxy "$(ready .proxy)" --cacert "$(ready .ca_file)" --request "$2" \
        --header "Authorization: Bearer $1" --header "Content-Type: application/json" --header "x-ms-version: 2024-11-04" \
        "$3" ${4+--data "$4"}
}

# token SCOPE
token() {
    curl --silent --show-error --fail --proxy "$(ready .proxy)" --cacert "$(ready .ca_file)" \
        --data-urlencode "client_id=$(ready .client_id)" --data-urlencode "client_secret=$(ready .client_secret)" \
        --data-urlencode grant_type=client_credentials --data-urlencode "scope=$1/.default" \
        "https://login.microsoftonline.com/$(ready .tenant_id)/oauth2/v2.0/token" | jq -er .access_token
}

# prod METHOD PATH [BODY]: a request to the vault.
prod() {
    call "$vault_token" "$1" "https://prod.vault.azure.net/$2?api-version=7.6" "${@:3}" >"$WORK/answer"
}

archiver() {
    AZURE_CLIENT_SECRET=$(ready .client_secret) "$AKV_BIN" "$@" >"$WORK/said" 2>"$WORK/errors" ||
        { cat "$WORK/errors"; echo "$judge: akv-archiver $* failed"; exit 1; }
}

# history NAME INIT-OPTION…: six snapshots and a restore, with a change between each and the next.
history_of() {
    local name=$1 folder=$WORK/$1
    mkdir -p "$folder/archive"
    cd "$folder" || exit 1
    archiver --output json init --vault prod "${@:2}" --credential client-secret --tenant-id "$(ready .tenant_id)" \
        --client-id "$(ready .client_id)" --proxy "$(ready .proxy)" --ca-file "$(ready .ca_file)"
    jq -er .verifier "$WORK/said" >verifier
    archiver snapshot
    prod PUT "secrets/of-$name" '{"value":"new"}'
    archiver snapshot
    prod POST keys/signing/create '{"kty":"EC","crv":"P-256"}'
    archiver snapshot --full
    prod DELETE "secrets/of-$name"
    archiver snapshot
    archiver restore plan "secret/of-$name"
    archiver restore apply --yes
    archiver snapshot
    archiver snapshot
    cd "$OLDPWD" || exit 1
}

# fetch PATH: a file of the container.
fetch() {
    mkdir -p "$WORK/container/archive/$(dirname "$1")"
    call "$blob_token" GET "$CONTAINER/$1" >"$WORK/container/archive/$1"
}

two_archives() {
    vault_token=$(token https://vault.azure.net)
    blob_token=$(token https://storage.azure.com)
    history_of directory --directory archive
    history_of container --container "$CONTAINER"
    call "$blob_token" GET "$CONTAINER?restype=container&comp=list" | grep -o '<Name>[^<]*' | cut -c7- >"$WORK/names"
    local path
    while read -r path; do fetch "$path"; done <"$WORK/names"
}
