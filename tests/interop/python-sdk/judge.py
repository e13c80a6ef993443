"""Judges the emulated Azure, and what akv-archiver restores there, with Microsoft's Python SDKs.

Host names are those of production; only HTTPS_PROXY and the CA file differ. What a client library checks for itself (JWKs,
certificates, PFX files, signatures) is checked by `cryptography`, which the SDKs bring along.
"""

import base64
import datetime
import hashlib
import json
import os
import subprocess
import traceback
import urllib.request

from azure.core import MatchConditions
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.rest import HttpRequest
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.keyvault.certificates import (
    AdministratorContact, CertificateClient, CertificateContact, CertificateContentType, CertificatePolicy,
)
from azure.keyvault.keys import ApiVersion, JsonWebKey, KeyClient, KeyRotationLifetimeAction, KeyRotationPolicy
from azure.keyvault.keys.crypto import (
    CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm,
)
from azure.keyvault.secrets import ContentType, SecretClient
from azure.storage.blob import BlobServiceClient, ContentSettings, ImmutabilityPolicy
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

READY = json.load(open(os.environ["READY"]))
WORK = os.environ["WORK"]
UTC = datetime.timezone.utc
# Polls as fast as the emulator answers, not every two seconds.
SOON = {"_polling_interval": 0.05}
counts = {True: 0, False: 0}
sections = []


def check(what, found, expected=True):
    """Counts a check, and prints one that failed."""
    good = found == expected
    counts[good] += 1
    if not good:
        print(f"FAILED {what}\n  expected {expected!r}\n  found    {found!r}")
    return good


def refused(what, status, code, call, inner=None):
    """The call is refused with this status, error code and inner code."""
    try:
        call()
        found = "no refusal"
    except HttpResponseError as error:
        found = (error.status_code, *codes(error))
    check(what, found, (status, code, inner))


def codes(error):
    """Error code and inner code: Blob Storage has them in a header, and not every operation of its SDK reads that."""
    code = error.response.headers.get("x-ms-error-code")
    if code or not error.error:
        return code, None
    return error.error.code, (error.error.innererror or {}).get("code")


def section(function):
    sections.append(function)
    return function


def control(method, path, body=None):
    """Asks the emulator's control interface."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(READY["control"] + path, data, method=method)
    return json.load(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request))


def vault(client, name, who=None, **options):
    return client(f"https://{name}.vault.azure.net", who or credential, **options)


def versions(pages):
    return {properties.version for properties in pages}


def names(items):
    return {item.name for item in items}


credential = DefaultAzureCredential()
limited = ClientSecretCredential(READY["tenant_id"], **READY["principals"]["snapshot-job"])
keys, secrets, certificates = (vault(client, "spare") for client in (KeyClient, SecretClient, CertificateClient))
blobs = BlobServiceClient("https://archive.blob.core.windows.net", credential)


@section
def sign_in():
    claims = jwt(credential.get_token("https://vault.azure.net/.default").token)
    check("audience of a token", claims["aud"], "https://vault.azure.net")
    check("tenant and application of a token", (claims["tid"], claims["appid"]), (READY["tenant_id"], READY["client_id"]))
    wrong = ClientSecretCredential(READY["tenant_id"], READY["client_id"], "wrong")
    try:
        found = wrong.get_token("https://vault.azure.net/.default").token
    except ClientAuthenticationError as error:
        found = error.message
    check("a wrong secret", "AADSTS7000215" in found)
    job = vault(SecretClient, "prod", limited)
    check("the job may list", "many-0000" in names(job.list_properties_of_secrets()))
    check("the job may back up", len(job.backup_secret("many-0000")) > 0)
    refused("the job may not read", 403, "Forbidden", lambda: job.get_secret("many-0000"), "ForbiddenByRbac")
    refused("the job may not delete", 403, "Forbidden", lambda: job.begin_delete_secret("many-0000"), "ForbiddenByRbac")
    refused("the job may not write blobs", 403, "AuthorizationPermissionMismatch", lambda: BlobServiceClient(
        blobs.url, limited).get_blob_client("plain", "x").upload_blob(b"x"))


def jwt(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


@section
def lists():
    prod = vault(SecretClient, "prod")
    wanted = {f"many-{n:04}" for n in range(65)}
    check("the SDK lists every secret", {n for n in names(prod.list_properties_of_secrets()) if "many" in n}, wanted)
    sizes = [len(list(page)) for page in prod.list_properties_of_secrets().by_page()]
    check("pages hold at most 25", max(sizes) <= 25)
    check("maxresults", max(len(list(p)) for p in prod.list_properties_of_secrets(max_page_size=3).by_page()) <= 3)
    prod.begin_delete_secret("many-0064", **SOON).wait()
    pages = [list(page) for page in prod.list_deleted_secrets().by_page()]
    check("empty pages come before the last", [] in pages[:-1])
    check("and the SDK goes on", names(sum(pages, [])), {"many-0064"})
    for _ in range(12):
        secrets.set_secret("often", "value")
    check("versions over all pages", len(versions(secrets.list_properties_of_secret_versions("often"))), 12)
    for n in range(30):
        secrets.set_secret(f"batch-{n}", str(n))
    for n in range(0, 30, 3):
        secrets.begin_delete_secret(f"batch-{n}", **SOON).wait()
    left = {f"batch-{n}" for n in range(30) if n % 3} | {"often"}
    check("live among deleted", names(secrets.list_properties_of_secrets()), left)
    check("deleted among live", names(secrets.list_deleted_secrets()), {f"batch-{n}" for n in range(0, 30, 3)})
    refused("the vault of nobody", 404, "SecretNotFound", lambda: prod.get_secret("absent"))


@section
def secret_life():
    first = secrets.set_secret("app", "one", tags={"team": "payments"}, content_type="text/plain")
    second = secrets.set_secret("app", "two", enabled=True)
    check("the newest value", secrets.get_secret("app").value, "two")
    check("an older one", secrets.get_secret("app", first.properties.version).value, "one")
    check("tags stay with their version", secrets.get_secret("app", first.properties.version).properties.tags,
          {"team": "payments"})
    both = {first.properties.version, second.properties.version}
    check("versions", versions(secrets.list_properties_of_secret_versions("app")), both)
    check("recovery level", second.properties.recovery_level, "CustomizedRecoverable+Purgeable")
    check("recoverable days", second.properties.recoverable_days, 7)
    updated = secrets.update_secret_properties("app", second.properties.version, content_type="x/y", tags={"a": "b"})
    check("an update", (updated.content_type, updated.tags), ("x/y", {"a": "b"}))
    secrets.update_secret_properties("app", first.properties.version, enabled=False)
    refused("a disabled version", 403, "Forbidden", lambda: secrets.get_secret("app", first.properties.version),
            "SecretDisabled")
    refused("a disabled secret", 403, "Forbidden", lambda: vault(SecretClient, "prod").get_secret("disabled"),
            "SecretDisabled")
    refused("a bad name", 400, "BadParameter", lambda: secrets.set_secret("no_such_name", "x"))
    refused("a long value", 400, "BadParameter", lambda: secrets.set_secret("long", "x" * 25 * 1024 + "x"))

    blob = secrets.backup_secret("app")
    refused("restore onto a live name", 409, "Conflict", lambda: secrets.restore_secret_backup(blob))
    poller = secrets.begin_delete_secret("app", **SOON)
    poller.wait()
    deleted = poller.result()
    check("recovery id", deleted.recovery_id, "https://spare.vault.azure.net/deletedsecrets/app")
    check("seven days until purge", deleted.scheduled_purge_date - deleted.deleted_date, datetime.timedelta(days=7))
    refused("a deleted secret", 404, "SecretNotFound", lambda: secrets.get_secret("app"))
    refused("a name that is held", 409, "Conflict", lambda: secrets.set_secret("app", "x"), "ObjectIsDeletedButRecoverable")
    refused("restore onto a deleted name", 409, "Conflict", lambda: secrets.restore_secret_backup(blob))
    secrets.begin_recover_deleted_secret("app", **SOON).wait()
    check("recovered", secrets.get_secret("app").value, "two")
    refused("recover of a live one", 400, "MethodNotAllowed", lambda: secrets.begin_recover_deleted_secret("app"),
            "RequestNotAllowedOnNonDeletedObject")
    secrets.begin_delete_secret("app", **SOON).wait()
    secrets.purge_deleted_secret("app")
    refused("purged", 404, "SecretNotFound", lambda: secrets.get_deleted_secret("app"))
    restored = secrets.restore_secret_backup(blob)
    check("restored, newest version", restored.version, second.properties.version)
    check("restored, all versions", versions(secrets.list_properties_of_secret_versions("app")), both)
    check("restored, value and tags", (secrets.get_secret("app").value, restored.tags), ("two", {"a": "b"}))
    refused("restored disabled", 403, "Forbidden", lambda: secrets.get_secret("app", first.properties.version),
            "SecretDisabled")


@section
def restore_elsewhere():
    vault(SecretClient, "prod").set_secret("moves", "value")
    blob = vault(SecretClient, "prod").backup_secret("moves")
    check("same geography, same subscription", secrets.restore_secret_backup(blob).name, "moves")
    for name in ("faraway", "stranger"):
        refused(f"into {name}", 400, "BadParameter", lambda: vault(SecretClient, name).restore_secret_backup(blob))
    broken = blob[:-20] + bytes(20)
    refused("a broken blob", 400, "Malformed backup blob", lambda: secrets.restore_secret_backup(broken))
    key = keys.create_rsa_key("for-another-kind")
    refused("a secret as a key", 400, "Malformed backup blob", lambda: keys.restore_key_backup(blob))
    hsm = keys.create_rsa_key("in-hsm", hardware_protected=True)
    check("key types", (key.key_type, hsm.key_type), ("RSA", "RSA-HSM"))
    standard = vault(KeyClient, "standard")
    refused("an HSM key on a standard vault", 400, "BadParameter",
            lambda: standard.create_rsa_key("hsm", hardware_protected=True))


@section
def purge_protection():
    prod = vault(KeyClient, "prod")
    key = prod.create_ec_key("kept")
    check("recovery level", key.properties.recovery_level, "Recoverable")
    check("recoverable days", key.properties.recoverable_days, 90)
    prod.begin_delete_key("kept", **SOON).wait()
    refused("purge", 403, "Forbidden", lambda: prod.purge_deleted_key("kept"))
    check("still there", prod.get_deleted_key("kept").name, "kept")
    prod.begin_recover_deleted_key("kept", **SOON).wait()
    check("recovered", prod.get_key("kept").id, key.id)


@section
def key_use():
    digest = hashlib.sha256(b"text").digest()
    secret = os.urandom(32)
    for name, bits, hsm in (("rsa", 2048, False), ("rsa-hsm", 3072, True)):
        key = keys.create_rsa_key(name, size=bits, hardware_protected=hsm)
        check(f"{name}: size", int.from_bytes(key.key.n, "big").bit_length(), bits)
        client, local = CryptographyClient(key, credential), CryptographyClient.from_jwk(key.key)
        for algorithm in map(SignatureAlgorithm, ("RS256", "PS256")):
            signature = client.sign(algorithm, digest).signature
            check(f"{name}: {algorithm} verifies by its public key", local.verify(algorithm, digest, signature).is_valid)
            check(f"{name}: {algorithm} by the vault", verified_by_vault(key, algorithm, digest, signature))
            other = hashlib.sha256(b"other").digest()
            check(f"{name}: {algorithm} of another text", verified_by_vault(key, algorithm, other, signature), False)
        for algorithm in ("RSA-OAEP", "RSA-OAEP-256", "RSA1_5"):
            wrapped = local.wrap_key(KeyWrapAlgorithm(algorithm), secret).encrypted_key
            check(f"{name}: {algorithm} unwraps", client.unwrap_key(KeyWrapAlgorithm(algorithm), wrapped).key, secret)
            sealed = local.encrypt(EncryptionAlgorithm(algorithm), secret).ciphertext
            check(f"{name}: {algorithm} decrypts", client.decrypt(EncryptionAlgorithm(algorithm), sealed).plaintext, secret)
        refused(f"{name}: a digest of the wrong length", 400, "BadParameter",
                lambda: client.sign(SignatureAlgorithm.rs256, digest[1:]))
    for curve, algorithm, hasher in (
        ("P-256", SignatureAlgorithm.es256, hashlib.sha256), ("P-384", SignatureAlgorithm.es384, hashlib.sha384),
        ("P-521", SignatureAlgorithm.es512, hashlib.sha512), ("P-256K", SignatureAlgorithm.es256_k, hashlib.sha256),
    ):
        key = keys.create_ec_key(f"ec-{curve}", curve=curve)
        check(f"{curve}: curve", (key.key.crv, key.key_type), (curve, "EC"))
        digest = hasher(b"text").digest()
        signature = CryptographyClient(key, credential).sign(algorithm, digest).signature
        local = CryptographyClient.from_jwk(key.key)
        check(f"{curve}: verifies by its public key", local.verify(algorithm, digest, signature).is_valid)
        check(f"{curve}: by the vault", verified_by_vault(key, algorithm, digest, signature))

    verifier = keys.create_rsa_key("verifier", key_operations=["verify"])
    check("key operations", verifier.key_operations, ["verify"])
    refused("an operation that is not listed", 403, "Forbidden", lambda: CryptographyClient(
        verifier.id, credential).sign(SignatureAlgorithm.rs256, hashlib.sha256().digest()), "KeyOperationForbidden")
    keys.update_key_properties("verifier", enabled=False)
    check("disabled keys are shown", keys.get_key("verifier").properties.enabled, False)
    private = rsa.generate_private_key(65537, 2048)
    imported = keys.import_key("imported", jwk(private))
    check("an imported key", int.from_bytes(imported.key.n, "big"), private.public_key().public_numbers().n)
    message = hashlib.sha256(b"by the vault").digest()
    signature = CryptographyClient(imported, credential).sign(SignatureAlgorithm.rs256, message).signature
    check("signs as the original", verifies(private.public_key(), b"by the vault", signature))
    check("has no private part", imported.key.d, None)


def verified_by_vault(key, algorithm, digest, signature):
    """Verify at the service: the SDK itself verifies with the public key and does not ask."""
    encode = lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")
    body = {"alg": algorithm, "digest": encode(digest), "value": encode(signature)}
    return keys.send_request(HttpRequest("POST", f"{key.id}/verify?api-version=7.6", json=body)).json()["value"]


def verifies(public, message, signature):
    return public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256()) is None


def jwk(private):
    numbers = private.private_numbers()
    as_bytes = lambda n: n.to_bytes((n.bit_length() + 7) // 8, "big")
    return JsonWebKey(
        kty="RSA", key_ops=["sign", "verify"], n=as_bytes(numbers.public_numbers.n), e=as_bytes(numbers.public_numbers.e),
        d=as_bytes(numbers.d), p=as_bytes(numbers.p), q=as_bytes(numbers.q), dp=as_bytes(numbers.dmp1),
        dq=as_bytes(numbers.dmq1), qi=as_bytes(numbers.iqmp))


@section
def key_life():
    first = keys.create_rsa_key("tde", hardware_protected=True, tags={"sql": "yes"})
    second = keys.rotate_key("tde")
    third = keys.create_rsa_key("tde", hardware_protected=True)
    ids = {key.properties.version for key in (first, second, third)}
    check("versions", versions(keys.list_properties_of_key_versions("tde")), ids)
    wrapped = CryptographyClient(first, credential).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"k" * 32).encrypted_key
    policy = keys.update_key_rotation_policy("tde", KeyRotationPolicy(
        expires_in="P90D", lifetime_actions=[KeyRotationLifetimeAction("rotate", time_before_expiry="P30D")]))
    check("rotation policy", (policy.expires_in, [a.action for a in policy.lifetime_actions if a.time_before_expiry == "P30D"]),
          ("P90D", ["rotate"]))
    check("rotation policy, read", keys.get_key_rotation_policy("tde").expires_in, "P90D")
    blob = keys.backup_key("tde")
    refused("restore onto a live name", 409, "Conflict", lambda: keys.restore_key_backup(blob))
    keys.begin_delete_key("tde", **SOON).wait()
    check("listed as deleted", "tde" in names(keys.list_deleted_keys()))
    refused("gone", 404, "KeyNotFound", lambda: keys.get_key("tde"))
    refused("a held name", 409, "Conflict", lambda: keys.create_rsa_key("tde"), "ObjectIsDeletedButRecoverable")
    keys.purge_deleted_key("tde")
    restored = keys.restore_key_backup(blob)
    check("restored id", restored.id, third.id)
    check("restored versions", versions(keys.list_properties_of_key_versions("tde")), ids)
    old = keys.get_key("tde", first.properties.version)
    check("restored public key and tags", (old.key.n, old.properties.tags), (first.key.n, {"sql": "yes"}))
    check("and its private part", CryptographyClient(old, credential).unwrap_key(
        KeyWrapAlgorithm.rsa_oaep_256, wrapped).key, b"k" * 32)
    for version in (ApiVersion.V7_1, ApiVersion.V7_4, ApiVersion.V7_6):
        check(f"read with {version.value}", vault(KeyClient, "spare", api_version=version).get_key("tde").id, third.id)


@section
def limbo_and_faults():
    control("POST", "/limits", {"limbo": "real"})
    try:
        secrets.set_secret("slow", "value")
        blob = secrets.backup_secret("slow")
        poller = secrets.begin_delete_secret("slow", **SOON)
        check("not deleted at once", poller.status(), "polling")
        refused("nor to be recovered", 409, "Conflict", lambda: secrets.begin_recover_deleted_secret("slow"),
                "ObjectIsBeingDeleted")
        control("POST", "/clock", {"advance_seconds": 300})
        poller.wait(20)
        check("deleted later", poller.status(), "finished")
        secrets.purge_deleted_secret("slow")
        refused("a name that is being purged", 409, "Conflict", lambda: secrets.restore_secret_backup(blob))
        control("POST", "/clock", {"advance_seconds": 600})
        check("free later", secrets.restore_secret_backup(blob).name, "slow")
    finally:
        control("POST", "/limits", {"limbo": "off"})
    for code in (429, 503):
        fault = control("POST", "/faults", {"host": "spare.*", "method": "GET", "path": "/secrets/slow", "action": {
            "status": {"code": code, "headers": {"retry-after": "0"}}}})["id"]
        check(f"the SDK repeats after {code}", secrets.get_secret("slow").value, "value")
        hits = [f["hits"] for f in control("GET", "/faults")["faults"] if f["id"] == fault]
        check(f"and {code} was seen", hits, [1])
    control("DELETE", "/faults")


@section
def certificate_life():
    poller = certificates.begin_create_certificate("tls", CertificatePolicy(
        issuer_name="Self", subject="CN=example.org", exportable=True, san_dns_names=["example.org", "www.example.org"],
        san_emails=["a@example.org"], san_user_principal_names=["user@example.org"], san_uris=["https://example.org/a"],
        san_ip_addresses=["10.0.0.1", "2001:db8::1"],
        validity_in_months=6, key_size=3072, content_type=CertificateContentType.pem), tags={"web": "yes"}, **SOON)
    poller.wait()
    made = poller.result()
    parsed = x509.load_der_x509_certificate(bytes(made.cer))
    check("subject", parsed.subject.rfc4514_string(), "CN=example.org")
    found = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    check("alternative names", {kind.__name__: [str(name) for name in found.get_values_for_type(kind)] for kind in (
        x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier, x509.IPAddress)}, {
        "DNSName": ["example.org", "www.example.org"], "RFC822Name": ["a@example.org"],
        "UniformResourceIdentifier": ["https://example.org/a"], "IPAddress": ["10.0.0.1", "2001:db8::1"]})
    upn = found.get_values_for_type(x509.OtherName)
    check("user principal name", [(name.type_id.dotted_string, name.value[2:]) for name in upn],
          [("1.3.6.1.4.1.311.20.2.3", b"user@example.org")])
    kept = certificates.get_certificate_policy("tls")
    check("and in its policy", (kept.san_uris, kept.san_ip_addresses, kept.san_user_principal_names),
          (["https://example.org/a"], ["10.0.0.1", "2001:db8::1"], ["user@example.org"]))
    check("signed by itself", parsed.verify_directly_issued_by(parsed), None)
    check("thumbprint", bytes(made.properties.x509_thumbprint), parsed.fingerprint(hashes.SHA1()))
    check("its key has the same number", keys.get_key("tls").key.n,
          parsed.public_key().public_numbers().n.to_bytes(384, "big"))
    pem = secrets.get_secret("tls")
    private = serialization.load_pem_private_key(pem.value.encode(), None)
    check("its secret holds the private key", private.public_key(), parsed.public_key())
    check("content type", pem.properties.content_type, "application/x-pem-file")
    refused("its key stands and falls with it", 403, "Forbidden", lambda: keys.begin_delete_key("tls"),
            "KeyManagedByKeyVault")
    refused("its secret too", 403, "Forbidden", lambda: secrets.begin_delete_secret("tls"), "SecretManagedByKeyVault")
    check("its key is managed", [p.managed for p in keys.list_properties_of_keys() if p.name == "tls"], [True])
    check("operation", certificates.get_certificate_operation("tls").status, "completed")
    updated = certificates.update_certificate_properties("tls", enabled=True, tags={"a": "b"})
    check("an update", updated.properties.tags, {"a": "b"})
    policy = certificates.get_certificate_policy("tls")
    policy._validity_in_months = 12
    check("policy", certificates.update_certificate_policy("tls", policy).validity_in_months, 12)

    again = certificates.begin_create_certificate("tls", CertificatePolicy(
        "Self", subject="CN=example.net", content_type=CertificateContentType.pkcs12), **SOON)
    again.wait()
    both = {made.properties.version, again.result().properties.version}
    check("versions", versions(certificates.list_properties_of_certificate_versions("tls")), both)
    blob = certificates.backup_certificate("tls")
    certificates.begin_delete_certificate("tls", **SOON).wait()
    refused("gone", 404, "CertificateNotFound", lambda: certificates.get_certificate("tls"))
    refused("its key, too", 404, "KeyNotFound", lambda: keys.get_key("tls"))
    check("deleted", "tls" in names(certificates.list_deleted_certificates()))
    certificates.begin_recover_deleted_certificate("tls", **SOON).wait()
    check("recovered", certificates.get_certificate("tls").properties.version, again.result().properties.version)
    certificates.begin_delete_certificate("tls", **SOON).wait()
    certificates.purge_deleted_certificate("tls")
    restored = certificates.restore_certificate_backup(blob)
    check("restored", restored.properties.version, again.result().properties.version)
    check("restored versions", versions(certificates.list_properties_of_certificate_versions("tls")), both)
    old = certificates.get_certificate_version("tls", made.properties.version)
    check("restored certificate", bytes(old.cer), bytes(made.cer))
    check("restored key and secret", (keys.get_key("tls", made.properties.version).key.n,
          secrets.get_secret("tls", made.properties.version).value),
          (parsed.public_key().public_numbers().n.to_bytes(384, "big"), pem.value))


def self_signed(name, private, issuer=None, public=None):
    """A certificate of `private`'s owner, or of `public` by them."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(UTC)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject)
            .public_key(public or private.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=90))
            .sign(private, hashes.SHA256()))


@section
def certificates_from_outside():
    private = rsa.generate_private_key(65537, 2048)
    cert = self_signed("imported", private)
    pfx = pkcs12.serialize_key_and_certificates(
        b"x", private, cert, None, serialization.BestAvailableEncryption(b"password"))
    imported = certificates.import_certificate("from-pfx", pfx, password="password")
    check("imported PFX", bytes(imported.cer), cert.public_bytes(serialization.Encoding.DER))
    value = base64.b64decode(secrets.get_secret("from-pfx").value)
    key, _, _ = pkcs12.load_key_and_certificates(value, None)
    check("its secret is a PFX with the same key", key.private_numbers(), private.private_numbers())
    converted = secrets.get_secret("from-pfx", out_content_type=ContentType.PEM).value.encode()
    check("and comes as PEM where that is asked for", (
        serialization.load_pem_private_key(converted, None).private_numbers(), x509.load_pem_x509_certificate(converted)),
          (private.private_numbers(), cert))
    refused("a wrong password", 400, "BadParameter",
            lambda: certificates.import_certificate("wrong", pfx, password="other"))
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption()) + cert.public_bytes(serialization.Encoding.PEM)
    imported = certificates.import_certificate(
        "from-pem", pem, policy=CertificatePolicy(content_type=CertificateContentType.pem))
    check("imported PEM", bytes(imported.cer), cert.public_bytes(serialization.Encoding.DER))
    refused("PEM does not come as PFX", 400, "BadParameter",
            lambda: secrets.get_secret("from-pem", out_content_type=ContentType.PFX))

    certificates.begin_create_certificate("merged", CertificatePolicy("Unknown", subject="CN=merged"), **SOON)
    operation = certificates.get_certificate_operation("merged")
    check("waits for a certificate", operation.status, "inProgress")
    request = x509.load_der_x509_csr(bytes(operation.csr))
    check("the request is signed", request.is_signature_valid)
    check("and names its subject", request.subject.rfc4514_string(), "CN=merged")
    authority = self_signed("authority", private)
    signed = self_signed("merged", private, authority.subject, request.public_key())
    merged = certificates.merge_certificate("merged", [signed.public_bytes(serialization.Encoding.DER)])
    check("merged", bytes(merged.cer), signed.public_bytes(serialization.Encoding.DER))
    check("its key is the request's", keys.get_key("merged").key.n,
          request.public_key().public_numbers().n.to_bytes(256, "big"))


@section
def issuers_and_contacts():
    refused("no contacts", 404, "ContactsNotFound", certificates.get_contacts)
    contacts = [CertificateContact(email="a@example.org", name="A", phone="1"), CertificateContact(email="b@example.org")]
    certificates.set_contacts(contacts)
    check("contacts", [(c.email, c.name) for c in certificates.get_contacts()], [("a@example.org", "A"), ("b@example.org", None)])
    check("contacts deleted", len(certificates.delete_contacts()), 2)
    refused("no contacts any more", 404, "ContactsNotFound", certificates.get_contacts)
    refused("no issuer", 404, "CertificateIssuerNotFound", lambda: certificates.get_issuer("nobody"))
    admin = AdministratorContact(first_name="J", last_name="D", email="admin@example.org", phone="42")
    certificates.create_issuer("issuer", "Test", account_id="account", password="pw", admin_contacts=[admin], enabled=True)
    issuer = certificates.get_issuer("issuer")
    check("issuer", (issuer.provider, issuer.account_id, issuer.admin_contacts[0].email, issuer.enabled),
          ("Test", "account", "admin@example.org", True))
    check("its password is not shown", issuer.password, None)
    certificates.update_issuer("issuer", enabled=False)
    check("updated issuer", certificates.get_issuer("issuer").enabled, False)
    check("issuers", names(certificates.list_properties_of_issuers()), {"issuer"})
    check("deleted issuer", certificates.delete_issuer("issuer").name, "issuer")
    refused("no issuer any more", 404, "CertificateIssuerNotFound", lambda: certificates.get_issuer("issuer"))


@section
def blob_contents():
    plain = blobs.get_container_client("plain")
    blob = plain.get_blob_client("folder/ü &%.txt")
    data = os.urandom(3_000_000)
    sent = blob.upload_blob(data, metadata={"kind": "test"}, content_settings=ContentSettings(
        content_type="text/plain", cache_control="no-store"))
    check("MD5 of what was stored", bytes(sent["content_md5"]), hashlib.md5(data).digest())
    found = blob.get_blob_properties()
    check("properties", (found.size, found.metadata, found.content_settings.content_type, found.content_settings.cache_control),
          (len(data), {"kind": "test"}, "text/plain", "no-store"))
    check("MD5", bytes(found.content_settings.content_md5), hashlib.md5(data).digest())
    check("contents", blob.download_blob().readall() == data)
    check("a range", blob.download_blob(offset=1000, length=10).readall(), data[1000:1010])
    refused("create over it", 409, "BlobAlreadyExists", lambda: blob.upload_blob(b"x"))
    refused("If-Match of another", 412, "ConditionNotMet", lambda: blob.upload_blob(
        b"x", overwrite=True, etag='"0x0"', match_condition=MatchConditions.IfNotModified))
    refused("a wrong Content-MD5", 400, "Md5Mismatch", lambda: plain.upload_blob(
        "wrong", b"x", headers={"Content-MD5": base64.b64encode(hashlib.md5(b"y").digest()).decode()}))
    check("the SDK's own Content-MD5", plain.upload_blob("right", b"x", validate_content=True).get_blob_properties().size, 1)
    pieces = blobs.get_blob_client("plain", "pieces")
    pieces._config.max_single_put_size = pieces._config.max_block_size = 1_000_000
    pieces.upload_blob(data)
    check("in blocks", pieces.download_blob().readall() == data)
    blob.upload_blob(b"new", overwrite=True)
    check("overwritten", blob.download_blob().readall(), b"new")
    listed = plain.list_blobs(include=["metadata"], results_per_page=1).by_page()
    check("pages of one", [[b.name for b in page] for page in listed], [["folder/ü &%.txt"], ["pieces"], ["right"]])
    check("by prefix", [b.name for b in plain.list_blobs(name_starts_with="folder/")], ["folder/ü &%.txt"])
    check("by folder", [b.name for b in plain.walk_blobs(delimiter="/")], ["folder/", "pieces", "right"])
    blob.delete_blob()
    refused("deleted", 404, "BlobNotFound", blob.download_blob)
    refused("no container", 404, "ContainerNotFound", lambda: blobs.get_blob_client("absent", "x").upload_blob(b"x"))
    created = blobs.create_container("fresh", metadata={"a": "b"})
    check("a new container", created.get_container_properties().metadata, {"a": "b"})
    refused("twice", 409, "ContainerAlreadyExists", lambda: blobs.create_container("fresh"))
    blobs.delete_container("fresh")
    check("containers", names(blobs.list_containers()), {"vaults", "locked", "rigid", "held", "plain"})


@section
def version_level_worm():
    container = blobs.get_container_client("locked")
    check("version-level is shown", container.get_container_properties().immutable_storage_with_versioning_enabled)
    blob = container.get_blob_client("sdk/kept")
    first = blob.upload_blob(b"one")
    found = blob.get_blob_properties()
    days = (found.immutability_policy.expiry_time - found.creation_time).days
    check("inherited policy", (found.immutability_policy.policy_mode.lower(), days), ("locked", 365))
    check("version id", (found.version_id, found.is_current_version), (first["version_id"], True))
    refused("create over it", 409, "BlobAlreadyExists", lambda: blob.upload_blob(b"x"))
    refused("delete", 409, "BlobImmutableDueToPolicy", blob.delete_blob)
    refused("change metadata", 409, "BlobImmutableDueToPolicy", lambda: blob.set_blob_metadata({"a": "b"}))
    refused("change headers", 409, "BlobImmutableDueToPolicy", lambda: blob.set_http_headers(ContentSettings(content_type="a/b")))
    refused("delete the policy", 409, "BlobImmutableDueToPolicy", blob.delete_immutability_policy)
    shorter = ImmutabilityPolicy(expiry_time=found.immutability_policy.expiry_time - datetime.timedelta(days=9),
                                 policy_mode="Locked")
    refused("shorten it", 409, "BlobImmutableDueToPolicy", lambda: blob.set_immutability_policy(shorter))
    longer = found.immutability_policy.expiry_time + datetime.timedelta(days=9)
    answer = blob.set_immutability_policy(ImmutabilityPolicy(expiry_time=longer, policy_mode="Locked"))
    check("extend it", answer["immutability_policy_until_date"], longer.replace(microsecond=0))
    second = blob.upload_blob(b"two", overwrite=True)
    check("an overwrite is a new version", second["version_id"] > first["version_id"])
    check("the old one stays", blob.download_blob(version_id=first["version_id"]).readall(), b"one")
    refused("and cannot be deleted", 409, "BlobImmutableDueToPolicy",
            lambda: container.delete_blob("sdk/kept", version_id=first["version_id"]))
    listed = list(container.list_blobs(name_starts_with="sdk/", include=["versions", "immutabilitypolicy", "legalhold"]))
    check("versions in a list", [(b.version_id, bool(b.is_current_version)) for b in listed],
          [(first["version_id"], False), (second["version_id"], True)])
    check("policies in a list", [b.immutability_policy.policy_mode.lower() for b in listed], ["locked"] * 2)
    check("MD5 in a list", [bytes(b.content_settings.content_md5) for b in listed],
          [hashlib.md5(text).digest() for text in (b"one", b"two")])
    own = ImmutabilityPolicy(expiry_time=datetime.datetime.now(UTC) + datetime.timedelta(days=400), policy_mode="Unlocked")
    mine = container.get_blob_client("sdk/own")
    mine.upload_blob(b"x", immutability_policy=own, legal_hold=True)
    found = mine.get_blob_properties()
    check("policy and hold of a blob", (found.immutability_policy.policy_mode.lower(), found.has_legal_hold), ("unlocked", True))
    refused("a hold protects", 409, "BlobImmutableDueToLegalHold", mine.delete_blob)
    check("the hold is lifted", mine.set_legal_hold(False)["legal_hold"], False)
    refused("the policy still protects", 409, "BlobImmutableDueToPolicy", mine.delete_blob)
    mine.delete_immutability_policy()
    mine.delete_blob()
    check("deleted, but a version stays", [b.version_id is not None for b in container.list_blobs(
        name_starts_with="sdk/own", include=["versions"])], [True])
    refused("the container", 409, "ContainerImmutabilityPolicyLocked", container.delete_container)


@section
def other_worm():
    rigid = blobs.get_container_client("rigid")
    shown = rigid.get_container_properties()
    check("container-level is shown", (shown.has_immutability_policy, bool(shown.immutable_storage_with_versioning_enabled)),
          (True, False))
    blob = rigid.get_blob_client("kept")
    blob.upload_blob(b"one")
    refused("create over it", 409, "BlobAlreadyExists", lambda: blob.upload_blob(b"x"))
    refused("overwrite", 409, "BlobImmutableDueToPolicy", lambda: blob.upload_blob(b"x", overwrite=True))
    refused("delete", 409, "BlobImmutableDueToPolicy", blob.delete_blob)
    refused("change metadata", 409, "BlobImmutableDueToPolicy", lambda: blob.set_blob_metadata({"a": "b"}))
    held = blobs.get_container_client("held")
    check("a hold is shown", held.get_container_properties().has_legal_hold)
    held.get_blob_client("x").upload_blob(b"x")
    refused("a hold protects", 409, "BlobImmutableDueToLegalHold", held.get_blob_client("x").delete_blob)


def archiver(*arguments):
    """Runs akv-archiver as a user would, without a proxy in its environment; returns exit code and parsed output."""
    environment = {"PATH": os.environ["PATH"], "USER": "judge", "AZURE_CLIENT_SECRET": READY["client_secret"]}
    command = [os.environ["AKV_BIN"], "--output", "json", *arguments]
    ran = subprocess.run(command, cwd=WORK, env=environment, capture_output=True, text=True)
    check(f"akv-archiver {arguments[0]}", (ran.returncode, ran.stderr if ran.returncode else ""), (0, ""))
    return json.loads(ran.stdout or "null")


@section
def archived_and_restored():
    """The main job: what the archiver took and brought back, as the SDK sees it."""
    key = keys.create_rsa_key("protector", hardware_protected=True, tags={"sql": "yes"})
    newer = keys.rotate_key("protector")
    digest = hashlib.sha256(b"signed before").digest()
    signature = CryptographyClient(key, credential).sign(SignatureAlgorithm.ps256, digest).signature
    wrapped = CryptographyClient(newer, credential).wrap_key(KeyWrapAlgorithm.rsa_oaep, b"s" * 32).encrypted_key
    old, new = (secrets.set_secret("archived", value, tags={"n": value}) for value in ("one", "two"))
    cert = certificates.begin_create_certificate("site", CertificatePolicy.get_default(), **SOON)
    cert.wait()
    cert = cert.result()
    pfx = secrets.get_secret("site").value
    control("POST", "/clock", {"advance_seconds": 5})

    archiver("init", "--vault", "spare", "--container", "https://archive.blob.core.windows.net/vaults", "--proxy",
             READY["proxy"], "--ca-file", READY["ca_file"], "--credential", "client-secret", "--tenant-id",
             READY["tenant_id"], "--client-id", READY["client_id"])
    snapshot = archiver("snapshot")
    check("complete", (snapshot["status"], snapshot["objects"]["gaps"]), ("complete", 0))
    listed = list(blobs.get_container_client("vaults").list_blobs(
        name_starts_with="vaults/spare.vault.azure.net/", include=["versions", "immutabilitypolicy"]))
    check("every file is protected", {b.immutability_policy.policy_mode.lower() for b in listed}, {"locked"})
    check("and has one version", len(listed), len({b.name for b in listed}))

    keys.begin_delete_key("protector", **SOON).wait()
    secrets.begin_delete_secret("archived", **SOON).wait()
    certificates.begin_delete_certificate("site", **SOON).wait()
    keys.purge_deleted_key("protector")
    secrets.purge_deleted_secret("archived")
    certificates.purge_deleted_certificate("site")
    plan = archiver("restore", "plan", "key/protector", "secret/archived", "certificate/site")
    check("plan", [step["action"] for step in plan["steps"]], ["restore"] * 3)
    check("applied", archiver("restore", "apply", "--yes")["status"], "done")

    check("key versions", versions(keys.list_properties_of_key_versions("protector")),
          {key.properties.version, newer.properties.version})
    check("newest key", keys.get_key("protector").id, newer.id)
    back = keys.get_key("protector", key.properties.version)
    check("key tags and type", (back.properties.tags, back.key_type), ({"sql": "yes"}, "RSA-HSM"))
    check("an old signature holds", CryptographyClient.from_jwk(back.key).verify(
        SignatureAlgorithm.ps256, digest, signature).is_valid)
    check("an old wrap opens", CryptographyClient(newer.id, credential).unwrap_key(
        KeyWrapAlgorithm.rsa_oaep, wrapped).key, b"s" * 32)
    for secret in (old, new):
        again = secrets.get_secret("archived", secret.properties.version)
        check(f"secret {secret.value}", (again.value, again.properties.tags), (secret.value, {"n": secret.value}))
    check("certificate", bytes(certificates.get_certificate("site").cer), bytes(cert.cer))
    check("its secret", secrets.get_secret("site", cert.properties.version).value, pfx)
    verified = archiver("verify")
    check("verify", (verified["status"], verified["findings"]), ("ok", []))


for judge in sections:
    try:
        judge()
    except Exception:  # pylint: disable=broad-except
        check(f"{judge.__name__} comes to its end", traceback.format_exc().strip().splitlines()[-12:], [])
print(f"python-sdk: {counts[True]} passed, {counts[False]} failed, 0 skipped")
raise SystemExit(1 if counts[False] else 0)
