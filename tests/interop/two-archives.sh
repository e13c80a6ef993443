# Sourced by judges of the format, after judge.sh: two archives of one vault, each with some history.
#
#   $work/directory   made in a local directory          $work/container   made in a container, fetched with curl
#
# Each folder has `archive`, `identity.txt`, `signer.key`, and `verifier` with the key that init printed to be pinned.

CONTAINER=https://archive.blob.core.windows.net/vaults

# call TOKEN METHOD URL [BODY]: a request by somebody who is not the archiver.
call() {
    curl --silent --show-error --fail --proxy "$HTTPS_PROXY" --cacert "$CA" --request "$2" \
        --header "Authorization: Bearer $1" --header "Content-Type: application/json" --header "x-ms-version: 2024-11-04" \
        "$3" ${4+--data "$4"}
}

# token SCOPE
token() {
    curl --silent --show-error --fail --proxy "$HTTPS_PROXY" --cacert "$CA" \
        --data-urlencode "client_id=$AZURE_CLIENT_ID" --data-urlencode "client_secret=$AZURE_CLIENT_SECRET" \
        --data-urlencode grant_type=client_credentials --data-urlencode "scope=$1/.default" \
        "https://login.microsoftonline.com/$AZURE_TENANT_ID/oauth2/v2.0/token" | jq -er .access_token
}

# prod METHOD PATH [BODY]: a request to the vault.
prod() {
    call "$vault_token" "$1" "https://prod.vault.azure.net/$2?api-version=7.6" "${@:3}" >"$work/answer"
}

archiver() {
    "$AKV_BIN" "$@" >"$work/said" 2>"$work/errors" ||
        { cat "$work/errors"; echo "akv-archiver $* failed"; exit 1; }
}

# history NAME INIT-OPTION…: six snapshots and a restore, with a change between each and the next.
history_of() {
    local name=$1 folder=$work/$1
    mkdir -p "$folder/archive"
    cd "$folder" || exit 1
    archiver --output json init --vault prod "${@:2}" --credential client-secret --tenant-id "$AZURE_TENANT_ID" \
        --client-id "$AZURE_CLIENT_ID" --proxy "$HTTPS_PROXY" --ca-file "$CA"
    jq -er .verifier "$work/said" >verifier
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
    mkdir -p "$work/container/archive/$(dirname "$1")"
    call "$blob_token" GET "$CONTAINER/$1" >"$work/container/archive/$1"
}

two_archives() {
    vault_token=$(token https://vault.azure.net)
    blob_token=$(token https://storage.azure.com)
    history_of directory --directory archive
    history_of container --container "$CONTAINER"
    call "$blob_token" GET "$CONTAINER?restype=container&comp=list" | grep -o '<Name>[^<]*' | cut -c7- >"$work/names"
    local path
    while read -r path; do fetch "$path"; done <"$work/names"
}
