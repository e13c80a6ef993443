"""Judges the emulator with Microsoft's `az`: login, and the whole life of keys, secrets and certificates. Then breaks the
glass: captures fetched with `az`, opened with age, zstd and tar, and restored with `az`, without a line of ours."""

import base64
import hashlib
import inspect
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

WORK = pathlib.Path(os.environ["WORK"])
READY = json.loads((WORK / "ready.json").read_text())
EUROPE, ARCHIVE = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
CONTAINER = ["--account-name", "archive", "--auth-mode", "login", "--container-name", "vaults"]

passed, failed, lock = 0, 0, threading.Lock()


def check(what, found, expected):
    """One check: `found` is `expected`, or is accepted by it if it is a function."""
    global passed, failed
    good = expected(found) if callable(expected) else found == expected
    with lock:
        if good:
            passed += 1
            return
        failed += 1
        wish = inspect.getsource(expected).strip() if callable(expected) else repr(expected)
        print(f"az: FAILED: {what}\n  expected {wish}\n  found    {found!r}")


class Disagreement(Exception):
    """Something that the rest of a story builds on went wrong."""


class Az:
    """`az` as one person runs it: a configuration of its own, the proxy, and the authority."""

    def __init__(self, name, principal, copy_of=None):
        self.name, self.folder = name, WORK / f"az-{name}"
        if copy_of:
            shutil.copytree(copy_of.folder, self.folder)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(WORK),
            "HTTPS_PROXY": READY["proxy"],
            "REQUESTS_CA_BUNDLE": READY["ca_file"],
            "AZURE_CONFIG_DIR": str(self.folder),
            "AZURE_CORE_COLLECT_TELEMETRY": "false",
            "AZURE_CORE_NO_COLOR": "true",
            # What init makes the archiver take its secret from.
            "AZURE_CLIENT_SECRET": principal["client_secret"],
        }
        self.principal = principal

    def run(self, *command):
        return subprocess.run(command, capture_output=True, text=True, cwd=WORK, env=self.environment, timeout=120)

    def __call__(self, *arguments):
        """Runs a command that must succeed. Returns what it prints, parsed."""
        ran = self.run("az", *arguments, "--output", "json")
        if ran.returncode != 0:
            raise Disagreement(f"az {' '.join(arguments)}\n  exited with {ran.returncode}: {ran.stderr}")
        return json.loads(ran.stdout) if ran.stdout.strip() else None

    def refuses(self, texts, *arguments, code=1):
        """Checks that a command fails with an exit code and says these things."""
        ran = self.run("az", *arguments)
        check(f"exit code of az {' '.join(arguments)}", ran.returncode, code)
        for text in texts:
            check(f"az {' '.join(arguments)} says why", ran.stderr, lambda found, text=text: text in found)

    def login(self):
        return self("login", "--service-principal", "--username", self.principal["client_id"],
                    "--password", self.principal["client_secret"], "--tenant", READY["tenant_id"])


def version(shown):
    return (shown.get("kid") or shown.get("id") or shown["key"]["kid"]).rsplit("/", 1)[1]


def versions(az, kind, vault, name):
    return sorted(version(item) for item in az("keyvault", kind, "list-versions", "--vault-name", vault, "-n", name))


def material(kind, shown):
    """What a restore must bring back."""
    return {"key": lambda: (shown["key"]["n"], shown["key"]["e"]), "secret": lambda: shown["value"],
            "certificate": lambda: (shown["cer"], shown["x509ThumbprintHex"])}[kind]()


def sign_in(az):
    check("subscriptions seen at login", sorted(s["id"] for s in az.login()), [EUROPE, ARCHIVE])
    account = az("account", "show")
    check("who is logged in", account["user"], {"name": READY["client_id"], "type": "servicePrincipal"})
    check("tenant", account["tenantId"], READY["tenant_id"])
    vault = az("keyvault", "show", "--name", "prod")["properties"]
    check("purge protection", vault["enablePurgeProtection"], True)
    check("retention", vault["softDeleteRetentionInDays"], 90)
    check("vault's address", vault["vaultUri"], "https://prod.vault.azure.net/")
    check("vaults of a subscription", sorted(v["name"] for v in az("keyvault", "list")), ["faraway", "prod", "spare"])
    account = az("storage", "account", "show", "--name", "archive", "--subscription", ARCHIVE)
    check("storage account's place", (account["location"], account["resourceGroup"]), ("northeurope", "rg-archive"))


CREATE = {
    "key": (["create", "--kty", "RSA", "--size", "2048"], ["create", "--kty", "RSA", "--size", "2048"]),
    "secret": (["set", "--value", "first"], ["set", "--value", "second"]),
    "certificate": (["create", "--policy", "@policy.json"], ["create", "--policy", "@policy.json"]),
}
# FORMAT.md section 6.1
HEADER = {"key": "Key", "secret": "Secret", "certificate": "Key"}
NOT_FOUND = {"key": "KeyNotFound", "secret": "SecretNotFound", "certificate": "CertificateNotFound"}


def life(az, kind):
    """From the first version to the grave and back, in a vault whose objects can be purged."""
    name, backup = f"{kind}-of-az", f"{kind}.backup"
    spare = ["--vault-name", "spare", "--name", name]
    if kind == "certificate":
        (WORK / "policy.json").write_text(json.dumps(az("keyvault", kind, "get-default-policy")))

    def do(verb, *arguments):
        return az("keyvault", kind, verb, *arguments)

    def names(verb):
        return [item["name"] for item in do(verb, "--vault-name", "spare") if item["name"].startswith(kind)]

    for arguments in CREATE[kind]:
        do(*arguments, *spare, "--tags", "team=payments")
    made = versions(az, kind, "spare", name)
    check(f"{kind}: each creation makes a version", len(set(made)), 2)
    check(f"{kind}: list", names("list"), [name])
    before = do("show", *spare)
    check(f"{kind}: tags", before["tags"]["team"], "payments")
    check(f"{kind}: the current version is one of them", version(before), lambda found: found in made)
    other = next(v for v in made if v != version(before))
    check(f"{kind}: an older version can be shown", version(do("show", *spare, "--version", other)), other)
    check(f"{kind}: each version is its own", material(kind, do("show", *spare, "--version", other)),
          lambda found: found != material(kind, before))
    do("set-attributes", *spare, "--enabled", "false", "--version", other)
    enabled = {version(item): item["attributes"]["enabled"] for item in do("list-versions", *spare)}
    check(f"{kind}: one version is disabled", enabled, {other: False, version(before): True})

    do("backup", *spare, "--file", backup)
    magic = f"AzureKeyVault{HEADER[kind]}BackupV1.microsoft.com".encode()
    check(f"{kind}: the backup's readable header", (WORK / backup).read_bytes()[: len(magic) + 1], bytes([len(magic)]) + magic)
    az.refuses(["Code: Conflict"], "keyvault", kind, "restore", "--vault-name", "spare", "--file", backup)
    az.refuses(["BadParameter", "Cannot decrypt backup blob."], "keyvault", kind, "restore", "--vault-name", "faraway", "--file", backup)
    az.refuses(["BadParameter"], "keyvault", kind, "restore", "--vault-name", "foreign", "--file", backup)

    gone = do("delete", *spare)
    check(f"{kind}: recovery id", gone["recoveryId"], f"https://spare.vault.azure.net/deleted{kind}s/{name}")
    times = [datetime.fromisoformat(gone[when]) for when in ("deletedDate", "scheduledPurgeDate")]
    check(f"{kind}: retention", times[1] - times[0], timedelta(days=7))
    az.refuses([NOT_FOUND[kind]], "keyvault", kind, "show", *spare, code=3)
    az.refuses(["Conflict", "ObjectIsDeletedButRecoverable"], "keyvault", kind, *CREATE[kind][0], *spare)
    az.refuses(["Code: Conflict"], "keyvault", kind, "restore", "--vault-name", "spare", "--file", backup)
    check(f"{kind}: list without what is deleted", names("list"), [])
    check(f"{kind}: list-deleted", names("list-deleted"), [name])
    do("recover", *spare)
    check(f"{kind}: recovered", versions(az, kind, "spare", name), made)
    check(f"{kind}: list-deleted after recovery", names("list-deleted"), [])

    do("delete", *spare)
    do("purge", *spare)
    check(f"{kind}: list-deleted after purge", names("list-deleted"), [])
    az.refuses([NOT_FOUND[kind]], "keyvault", kind, "recover", *spare)
    do("restore", "--vault-name", "spare", "--file", backup)
    check(f"{kind}: restored versions", versions(az, kind, "spare", name), made)
    check(f"{kind}: restored material", material(kind, do("show", *spare)), material(kind, before))


def protected(az, kind, name):
    """Under purge protection nobody gets rid of anything."""
    prod = ["--vault-name", "prod", "--name", name]
    before = versions(az, kind, "prod", name)
    az("keyvault", kind, "delete", *prod)
    az.refuses(["Forbidden", 'Operation "purge" is not allowed because purge protection is enabled for this vault.'],
               "keyvault", kind, "purge", *prod)
    az("keyvault", kind, "recover", *prod)
    check(f"{kind}: as before", versions(az, kind, "prod", name), before)


def crypto(az):
    """A restored key is the key, not a picture of it: what one signs, the other verifies."""
    digest = base64.b64encode(hashlib.sha256(b"akv-archiver").digest()).decode()
    common = ["--name", "tde-protector", "--algorithm", "RS256", "--digest", digest]
    signature = az("keyvault", "key", "sign", "--vault-name", "prod", *common)["signature"]
    verified = az("keyvault", "key", "verify", "--vault-name", "spare", *common, "--signature", signature)
    check("the restored key verifies what the first one signed", verified["isValid"], True)


def denied(az):
    """One who may only look at keys."""
    check("subscriptions of a principal", len(az.login()), 2)
    check("keys may be listed", [k["name"] for k in az("keyvault", "key", "list", "--vault-name", "prod")], ["tde-protector"])
    az.refuses(["Forbidden", "Caller is not authorized to perform action on resource.",
                "Action: 'Microsoft.KeyVault/vaults/secrets/readMetadata/action'", "ForbiddenByRbac"],
               "keyvault", "secret", "list", "--vault-name", "prod")
    az.refuses(["Action: 'Microsoft.KeyVault/vaults/keys/backup/action'", "ForbiddenByRbac"],
               "keyvault", "key", "backup", "--vault-name", "prod", "--name", "tde-protector", "--file", "stolen")
    check("nothing was written", (WORK / "stolen").exists(), False)
    az.refuses(["You do not have the required permissions"],
               "storage", "blob", "list", *CONTAINER)


def archive(az):
    """An archive of `prod`, made by the program on trial."""
    for arguments in [
        ["init", "--vault", "prod", "--container", "https://archive.blob.core.windows.net/vaults", "--proxy", READY["proxy"],
         "--ca-file", READY["ca_file"], "--credential", "client-secret", "--tenant-id", READY["tenant_id"],
         "--client-id", READY["client_id"]],
        ["snapshot"],
    ]:
        ran = az.run(os.environ["AKV_BIN"], *arguments)
        if ran.returncode != 0:
            raise Disagreement(f"akv-archiver {arguments[0]}: {ran.stderr}")


def worm(az):
    """What `az` sees of the container: files locked, and no way to be rid of them. Returns the captures by kind."""
    names = [blob["name"] for blob in az("storage", "blob", "list", *CONTAINER)]
    captures = {kind: name for name in names for kind in CREATE if f"/captures/{kind}/" in name}
    check("one capture of each kind", sorted(captures), sorted(CREATE))
    check("archive.json, captures, settings, a manifest and a log file", len(names), 7)
    blob = [*CONTAINER, "--name", captures["key"]]
    policy = az("storage", "blob", "show", *blob)["immutabilityPolicy"]
    check("the capture is locked", policy["policyMode"], "locked")
    left = datetime.fromisoformat(policy["expiryTime"]) - datetime.now(timezone.utc)
    check("for a year", left, lambda found: timedelta(days=364) < found < timedelta(days=366))
    az.refuses(["BlobImmutableDueToPolicy"], "storage", "blob", "delete", *blob)
    az.refuses(["BlobAlreadyExists"], "storage", "blob", "upload", *blob, "--data", "nothing")
    policy = az("storage", "container", "immutability-policy", "show", "--account-name", "archive", "--container-name", "vaults",
                "--resource-group", "rg-archive", "--subscription", ARCHIVE)
    check("the container's policy", (policy["state"], policy["immutabilityPeriodSinceCreationInDays"]), ("Locked", 365))
    return captures


def break_glass(az, kind, name, capture):
    """Fetch, open, restore: a key as the runbook says, block for block. And the object is the one that was."""
    folder = WORK
    if kind == "key":
        runbook(az)
    else:
        folder = WORK / f"glass-{kind}"
        folder.mkdir()
        az("storage", "blob", "download", *CONTAINER, "--name", capture, "--file", f"{folder}/capture.age")
        ran = az.run("bash", "-o", "pipefail", "-c", f"age -d -i identity.txt {folder}/capture.age | zstd -d | tar x -C {folder}")
        check(f"{kind}: age, zstd and tar open the capture", (ran.returncode, ran.stderr), (0, ""))
        az("keyvault", kind, "restore", "--vault-name", "spare", "--file", f"{folder}/backup.blob")
    check(f"{kind}: README.txt names the command", (folder / "README.txt").read_text(),
          lambda found: f"az keyvault {kind} restore" in found)
    check(f"{kind}: every version is back", versions(az, kind, "spare", name), versions(az, kind, "prod", name))
    first, second = (az("keyvault", kind, "show", "--vault-name", vault, "--name", name) for vault in ("prod", "spare"))
    check(f"{kind}: it is the same", material(kind, second), material(kind, first))
    check(f"{kind}: it has the same tags", second["tags"], first["tags"])


def runbook(az):
    """The command blocks of docs/RUNBOOK.md that need `az`, as they are written there, one shell for each."""
    text = (pathlib.Path(__file__).parents[3] / "docs/RUNBOOK.md").read_text()
    blocks = re.findall(r"^```sh az\n(.*?)^```$", text, re.M | re.S)
    check("the runbook has blocks for az", len(blocks), lambda found: found >= 3)
    for block in blocks:
        ran = az.run("bash", "-euo", "pipefail", "-c", block)
        check("runbook: " + block.splitlines()[-1][:60], (ran.returncode, ran.stderr), lambda found: found[0] == 0)


def as_az(az):
    """The archiver with the credential `azure-cli`: it asks `az` for its tokens, and has no secret of its own."""
    az.environment.pop("AZURE_CLIENT_SECRET")
    for whose in ("ARCHIVE", "VAULT__0"):
        az.environment[f"AKV_ARCHIVER__{whose}__CREDENTIAL__KIND"] = "azure-cli"
    for command in ("snapshot", "verify"):
        ran = az.run(os.environ["AKV_BIN"], command)
        check(f"{command} with the credential of az", ran, lambda found: found.returncode == 0)


def story(tell, *arguments):
    """Tells one; if it breaks off, that is a failed check."""
    try:
        return tell(*arguments)
    except (Disagreement, KeyError, TypeError, ValueError, OSError, subprocess.TimeoutExpired) as reason:
        check(f"{tell.__name__} goes to its end", f"{type(reason).__name__}: {reason}", "it does")


def main():
    az = Az("operator", READY)
    story(sign_in, az)
    story(archive, az)
    captures = story(worm, az) or {}

    def glass(mine, kind, name):
        story(break_glass, mine, kind, name, captures.get(kind, "none"))
        if kind == "key":
            story(crypto, mine)
        story(protected, mine, kind, name)

    # Each command takes a second or more, most of it to start Python.
    with ThreadPoolExecutor(max_workers=4) as pool:
        told = [pool.submit(story, denied, Az("looker", READY["principals"]["looker"]))]
        for kind, name in [("certificate", "tls"), ("key", "tde-protector"), ("secret", "password")]:
            told.append(pool.submit(story, life, Az(f"life-{kind}", READY, copy_of=az), kind))
            told.append(pool.submit(glass, Az(f"glass-{kind}", READY, copy_of=az), kind, name))
    for each in told:
        each.result()
    story(as_az, az)

    print(f"az: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
