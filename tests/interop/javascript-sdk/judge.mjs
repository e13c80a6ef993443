// Judges the emulated Azure, and what akv-archiver restores there, with Microsoft's JavaScript SDKs. Host names are those of
// production; only HTTPS_PROXY and the CA file differ. Public keys and certificates are checked by Node's own cryptography.

import { spawnSync } from "node:child_process";
import * as crypto from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";

const require = createRequire(process.env.MODULES);
const { ClientSecretCredential, DefaultAzureCredential } = require("@azure/identity");
const { CertificateClient } = require("@azure/keyvault-certificates");
const { CryptographyClient, KeyClient } = require("@azure/keyvault-keys");
const { SecretClient } = require("@azure/keyvault-secrets");
const { BlobServiceClient } = require("@azure/storage-blob");

const ready = JSON.parse(readFileSync(process.env.READY, "utf8"));
const soon = { intervalInMs: 50 };
const counts = { passed: 0, failed: 0 };
const credential = new DefaultAzureCredential();
const job = ready.principals["snapshot-job"];
const limited = new ClientSecretCredential(ready.tenant_id, job.client_id, job.client_secret);
const vault = (Client, name, who = credential) => new Client(`https://${name}.vault.azure.net`, who);
const [keys, secrets, certificates] = [KeyClient, SecretClient, CertificateClient].map((client) => vault(client, "spare"));
const blobs = new BlobServiceClient("https://archive.blob.core.windows.net", credential);
const container = (name) => blobs.getContainerClient(name);

/** Counts a check, and prints one that failed. */
function check(what, found, expected = true) {
  const good = isDeepStrictEqual(found, expected);
  counts[good ? "passed" : "failed"] += 1;
  if (!good) console.log(`FAILED ${what}\n  expected`, expected, "\n  found   ", found);
}

/** The call is refused with this status, error code and inner code. */
async function refused(what, status, code, call, inner) {
  let found = "no refusal";
  try {
    await call();
  } catch (error) {
    const body = error.details?.error ?? {};
    found = [error.statusCode, error.code ?? body.code, body.innerError?.code];
    if (error.statusCode === undefined) throw error;
  }
  check(what, found, [status, code, inner]);
}

async function all(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}

const names = async (pages) => (await all(pages)).map((item) => item.name).sort();
const versions = async (pages) => (await all(pages)).map((item) => item.version ?? item.properties.version).sort();
const end = async (poller) => (await poller).pollUntilDone();
const bytes = (base64) => Buffer.from(base64, "base64");
const publicKey = ({ key }) => {
  const part = (value) => value && Buffer.from(value).toString("base64url");
  const jwk = key.crv
    ? { kty: "EC", crv: key.crv === "P-256K" ? "secp256k1" : key.crv, x: part(key.x), y: part(key.y) }
    : { kty: "RSA", n: part(key.n), e: part(key.e) };
  return crypto.createPublicKey({ key: jwk, format: "jwk" });
};

const sections = {
  async signIn() {
    const wrong = new ClientSecretCredential(ready.tenant_id, ready.client_id, "wrong");
    const said = await wrong.getToken("https://vault.azure.net/.default").catch((error) => error.message);
    check("a wrong secret", String(said).includes("AADSTS7000215"));
    const reader = vault(SecretClient, "prod", limited);
    check("the job may list", (await names(reader.listPropertiesOfSecrets())).includes("many-0000"));
    check("the job may back up", (await reader.backupSecret("many-0000")).length > 0);
    await refused("the job may not read", 403, "Forbidden", () => reader.getSecret("many-0000"), "ForbiddenByRbac");
  },

  async lists() {
    const prod = vault(SecretClient, "prod");
    const wanted = Array.from({ length: 65 }, (_, n) => `many-${String(n).padStart(4, "0")}`);
    check("every secret", await names(prod.listPropertiesOfSecrets()), ["disabled", ...wanted]);
    await end(prod.beginDeleteSecret("many-0064", soon));
    const pages = await all(prod.listDeletedSecrets().byPage());
    check("empty pages come before the last", pages.slice(0, -1).some((page) => page.length === 0));
    check("and the SDK goes on", pages.flat().map((item) => item.name), ["many-0064"]);
    check("the others live", await names(prod.listPropertiesOfSecrets()), ["disabled", ...wanted.slice(0, 64)]);
  },

  async secretLife() {
    const first = await secrets.setSecret("app", "one", { tags: { team: "payments" }, contentType: "text/plain" });
    const second = await secrets.setSecret("app", "two");
    const both = [first.properties.version, second.properties.version].sort();
    check("the newest value", (await secrets.getSecret("app")).value, "two");
    check("an older one", (await secrets.getSecret("app", { version: first.properties.version })).value, "one");
    check("versions", await versions(secrets.listPropertiesOfSecretVersions("app")), both);
    check("recovery level", [second.properties.recoveryLevel, second.properties.recoverableDays],
      ["CustomizedRecoverable+Purgeable", 7]);
    await secrets.updateSecretProperties("app", first.properties.version, { enabled: false });
    await refused("a disabled version", 403, "Forbidden",
      () => secrets.getSecret("app", { version: first.properties.version }), "SecretDisabled");
    const blob = await secrets.backupSecret("app");
    await refused("restore onto a live name", 409, "Conflict", () => secrets.restoreSecretBackup(blob));
    const deleted = await end(secrets.beginDeleteSecret("app", soon));
    check("recovery id", deleted.recoveryId, "https://spare.vault.azure.net/deletedsecrets/app");
    await refused("a deleted secret", 404, "SecretNotFound", () => secrets.getSecret("app"));
    await refused("a held name", 409, "Conflict", () => secrets.setSecret("app", "x"), "ObjectIsDeletedButRecoverable");
    await refused("restore onto a deleted name", 409, "Conflict", () => secrets.restoreSecretBackup(blob));
    await end(secrets.beginRecoverDeletedSecret("app", soon));
    check("recovered", (await secrets.getSecret("app")).value, "two");
    await end(secrets.beginDeleteSecret("app", soon));
    await secrets.purgeDeletedSecret("app");
    await refused("purged", 404, "SecretNotFound", () => secrets.getDeletedSecret("app"));
    check("restored", (await secrets.restoreSecretBackup(blob)).version, second.properties.version);
    check("restored versions", await versions(secrets.listPropertiesOfSecretVersions("app")), both);
    check("restored value", (await secrets.getSecret("app")).value, "two");
    await refused("into another geography", 400, "BadParameter", () => vault(SecretClient, "faraway").restoreSecretBackup(blob));
    await refused("into another subscription", 400, "BadParameter",
      () => vault(SecretClient, "stranger").restoreSecretBackup(blob));
  },

  async keyUse() {
    const digest = crypto.createHash("sha256").update("text").digest();
    for (const hsm of [false, true]) {
      const key = await keys.createRsaKey(`rsa-${hsm}`, { keySize: 2048, hsm });
      check("key type", key.keyType, hsm ? "RSA-HSM" : "RSA");
      const client = new CryptographyClient(key, credential);
      const { result } = await client.sign("RS256", digest);
      check("RS256 by the public key", crypto.verify("sha256", "text", publicKey(key), result));
      check("RS256 by the SDK", (await client.verify("RS256", digest, result)).result);
      const secret = crypto.randomBytes(32);
      const padding = { key: publicKey(key), oaepHash: "sha256", padding: crypto.constants.RSA_PKCS1_OAEP_PADDING };
      const unwrapped = await client.unwrapKey("RSA-OAEP-256", crypto.publicEncrypt(padding, secret));
      check("what Node wraps, the vault unwraps", Buffer.from(unwrapped.result), secret);
      const wrapped = await client.wrapKey("RSA-OAEP", secret);
      check("what the SDK wraps", Buffer.from((await client.unwrapKey("RSA-OAEP", wrapped.result)).result), secret);
    }
    for (const [curve, algorithm, hash] of [["P-256", "ES256", "sha256"], ["P-256K", "ES256K", "sha256"],
      ["P-384", "ES384", "sha384"], ["P-521", "ES512", "sha512"]]) {
      const key = await keys.createEcKey(`ec-${curve}`, { curve });
      const { result } = await new CryptographyClient(key, credential)
        .sign(algorithm, crypto.createHash(hash).update("text").digest());
      check(algorithm, crypto.verify(hash, "text", { key: publicKey(key), dsaEncoding: "ieee-p1363" }, result));
    }
  },

  async keyLife() {
    const first = await keys.createRsaKey("tde", { hsm: true, tags: { sql: "yes" } });
    const second = await keys.rotateKey("tde");
    const both = [first, second].map((key) => key.properties.version).sort();
    const blob = await keys.backupKey("tde");
    await end(keys.beginDeleteKey("tde", soon));
    check("deleted", (await names(keys.listDeletedKeys())).includes("tde"));
    await keys.purgeDeletedKey("tde");
    check("restored", (await keys.restoreKeyBackup(blob)).id, second.id);
    check("restored versions", await versions(keys.listPropertiesOfKeyVersions("tde")), both);
    const old = await keys.getKey("tde", { version: first.properties.version });
    check("restored key", [Buffer.from(old.key.n), old.properties.tags], [Buffer.from(first.key.n), { sql: "yes" }]);
    const prod = vault(KeyClient, "prod");
    await prod.createEcKey("kept");
    await end(prod.beginDeleteKey("kept", soon));
    await refused("purge protection", 403, "Forbidden", () => prod.purgeDeletedKey("kept"));
    check("recovered", (await end(prod.beginRecoverDeletedKey("kept", soon))).name, "kept");
    await refused("an HSM key on a standard vault", 400, "BadParameter",
      () => vault(KeyClient, "standard").createRsaKey("hsm", { hsm: true }));
  },

  async certificateLife() {
    const made = await end(certificates.beginCreateCertificate("tls",
      { issuerName: "Self", subject: "CN=example.org", subjectAlternativeNames: { dnsNames: ["example.org"] } }, soon));
    const parsed = new crypto.X509Certificate(made.cer);
    check("subject", [parsed.subject, parsed.subjectAltName], ["CN=example.org", "DNS:example.org"]);
    check("signed by its own key", parsed.verify(publicKey(await keys.getKey("tls"))));
    const pfx = (await secrets.getSecret("tls")).value;
    await refused("its key stands and falls with it", 403, "Forbidden", () => keys.beginDeleteKey("tls"), "KeyManagedByKeyVault");
    const copy = await certificates.importCertificate("copy", bytes(pfx), {});
    check("imported PFX", Buffer.from(copy.cer), Buffer.from(made.cer));
    const blob = await certificates.backupCertificate("tls");
    await end(certificates.beginDeleteCertificate("tls", soon));
    await refused("gone", 404, "CertificateNotFound", () => certificates.getCertificate("tls"));
    await end(certificates.beginRecoverDeletedCertificate("tls", soon));
    await end(certificates.beginDeleteCertificate("tls", soon));
    await certificates.purgeDeletedCertificate("tls");
    const restored = await certificates.restoreCertificateBackup(blob);
    check("restored", [restored.properties.version, Buffer.from(restored.cer)],
      [made.properties.version, Buffer.from(made.cer)]);
    check("restored secret", (await secrets.getSecret("tls")).value, pfx);

    await certificates.setContacts([{ email: "a@example.org", name: "A" }]);
    check("contacts", (await certificates.getContacts()).map((contact) => contact.email), ["a@example.org"]);
    await certificates.deleteContacts();
    await refused("no contacts", 404, "ContactsNotFound", () => certificates.getContacts());
    await certificates.createIssuer("issuer", "Test", { accountId: "account" });
    check("issuer", (await certificates.getIssuer("issuer")).provider, "Test");
    // The SDK fills in no names here.
    check("issuers", (await all(certificates.listPropertiesOfIssuers())).map((issuer) => issuer.id),
      ["https://spare.vault.azure.net/certificates/issuers/issuer"]);
    await certificates.deleteIssuer("issuer");
    await refused("no issuer", 404, "CertificateIssuerNotFound", () => certificates.getIssuer("issuer"));
  },

  async writeOnce() {
    const md5 = (text) => crypto.createHash("md5").update(text).digest();
    const onlyNew = { conditions: { ifNoneMatch: "*" } };
    const kept = container("locked").getBlockBlobClient("sdk/ü kept");
    const first = await kept.upload("one", 3, onlyNew);
    const found = await kept.getProperties();
    const days = (found.immutabilityPolicyExpiresOn - found.createdOn) / 86_400_000;
    check("inherited policy", [found.immutabilityPolicyMode?.toLowerCase(), Math.floor(days)], ["locked", 365]);
    check("MD5", Buffer.from(found.contentMD5), md5("one"));
    await refused("create over it", 409, "BlobAlreadyExists", () => kept.upload("x", 1, onlyNew));
    await refused("delete", 409, "BlobImmutableDueToPolicy", () => kept.delete());
    await refused("delete the policy", 409, "BlobImmutableDueToPolicy", () => kept.deleteImmutabilityPolicy());
    await refused("shorten it", 409, "BlobImmutableDueToPolicy",
      () => kept.setImmutabilityPolicy({ expiriesOn: new Date(Date.now() + 86_400_000), policyMode: "Locked" }));
    const second = await kept.upload("two", 3);
    const old = await kept.withVersion(first.versionId).downloadToBuffer();
    check("the old version stays", old.toString(), "one");
    await refused("and cannot be deleted", 409, "BlobImmutableDueToPolicy", () => kept.withVersion(first.versionId).delete());
    const listed = await all(container("locked").listBlobsFlat({
      prefix: "sdk/", includeVersions: true, includeImmutabilityPolicy: true, includeLegalHold: true }));
    check("versions in a list", listed.map((blob) => [blob.name, blob.versionId, blob.isCurrentVersion ?? false]),
      [["sdk/ü kept", first.versionId, false], ["sdk/ü kept", second.versionId, true]]);
    check("policies in a list", listed.map((blob) => blob.properties.immutabilityPolicyMode?.toLowerCase()), ["locked", "locked"]);
    check("MD5 in a list", listed.map((blob) => Buffer.from(blob.properties.contentMD5)), [md5("one"), md5("two")]);

    const rigid = container("rigid").getBlockBlobClient("kept");
    await rigid.upload("one", 3);
    await refused("container-level: overwrite", 409, "BlobImmutableDueToPolicy", () => rigid.upload("x", 1));
    await refused("container-level: delete", 409, "BlobImmutableDueToPolicy", () => rigid.delete());
    await container("held").getBlockBlobClient("x").upload("x", 1);
    await refused("a hold", 409, "BlobImmutableDueToLegalHold", () => container("held").getBlockBlobClient("x").delete());

    const plain = container("plain").getBlockBlobClient("large");
    const data = crypto.randomBytes(2_000_000);
    await plain.uploadData(data, { maxSingleShotSize: 500_000, blockSize: 500_000 });
    check("in blocks", (await plain.downloadToBuffer()).equals(data));
    await refused("If-Match of another", 412, "ConditionNotMet", () => plain.upload("x", 1, { conditions: { ifMatch: '"0x0"' } }));
    check("pages", (await all(container("plain").listBlobsFlat().byPage({ maxPageSize: 1 }))).length, 1);
    await plain.delete();
    await refused("deleted", 404, "BlobNotFound", () => plain.download());
    await refused("the job may not write", 403, "AuthorizationPermissionMismatch",
      () => new BlobServiceClient(blobs.url, limited).getContainerClient("plain").getBlockBlobClient("x").upload("x", 1));
  },

  /** The main job: what the archiver took and brought back, as the SDK sees it. */
  async archivedAndRestored() {
    const key = await keys.createRsaKey("protector", { hsm: true, tags: { sql: "yes" } });
    const newer = await keys.rotateKey("protector");
    const { result } = await new CryptographyClient(key, credential)
      .sign("RS256", crypto.createHash("sha256").update("signed before").digest());
    const wrapped = crypto.publicEncrypt({ key: publicKey(newer), oaepHash: "sha256" }, Buffer.from("wrapped before"));
    const secret = await secrets.setSecret("archived", "value", { tags: { a: "b" } });
    // A backup that begins within the second of a change would be taken twice.
    await fetch(`${ready.control}/clock`, { method: "POST", body: JSON.stringify({ advance_seconds: 5 }) });
    const archiver = (...line) => {
      const ran = spawnSync(process.env.AKV_BIN, ["--output", "json", ...line], { cwd: process.env.WORK, encoding: "utf8",
        env: { PATH: process.env.PATH, USER: "judge", AZURE_CLIENT_SECRET: ready.client_secret } });
      check(`akv-archiver ${line[0]}`, [ran.status, ran.status ? ran.stderr : ""], [0, ""]);
      return JSON.parse(ran.stdout || "null");
    };
    archiver("init", "--vault", "spare", "--container", container("vaults").url, "--proxy", ready.proxy, "--ca-file",
      ready.ca_file, "--credential", "client-secret", "--tenant-id", ready.tenant_id, "--client-id", ready.client_id);
    check("snapshot", archiver("snapshot").status, "complete");
    await end(keys.beginDeleteKey("protector", soon));
    await end(secrets.beginDeleteSecret("archived", soon));
    await keys.purgeDeletedKey("protector");
    await secrets.purgeDeletedSecret("archived");
    archiver("restore", "plan", "key/protector", "secret/archived");
    check("restore", archiver("restore", "apply", "--yes").status, "done");

    check("versions", await versions(keys.listPropertiesOfKeyVersions("protector")),
      [key, newer].map((one) => one.properties.version).sort());
    const back = await keys.getKey("protector", { version: key.properties.version });
    check("tags", back.properties.tags, { sql: "yes" });
    check("an old signature holds", crypto.verify("sha256", "signed before", publicKey(back), result));
    const unwrapped = await new CryptographyClient(newer.id, credential).unwrapKey("RSA-OAEP-256", wrapped);
    check("an old wrap opens", Buffer.from(unwrapped.result).toString(), "wrapped before");
    const again = await secrets.getSecret("archived");
    check("the secret", [again.value, again.properties.version, again.properties.tags],
      ["value", secret.properties.version, { a: "b" }]);
  },
};

for (const [name, judge] of Object.entries(sections)) {
  try {
    await judge();
  } catch (error) {
    check(`${name} comes to its end`, error, undefined);
  }
}
console.log(`javascript-sdk: ${counts.passed} passed, ${counts.failed} failed, 0 skipped`);
process.exit(counts.failed ? 1 : 0);
