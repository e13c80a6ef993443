"""Backs up every object of a vault and uploads it, with Microsoft's asynchronous SDKs and their defaults.

What an experienced engineer would write in an afternoon: no retries of its own, no encryption, no proof of anything.
`benches/run` starts it.

Usage: async_sdk.py VAULT_URL CONTAINER_URL IN_FLIGHT      (AZURE_…, HTTPS_PROXY and SSL_CERT_FILE from the environment)

`connection_verify="ca.pem"` would be slower by far: the transport then makes a TLS context, and so a connection, for each
request.
"""

import asyncio
import json
import os
import sys

from azure.identity.aio import ClientSecretCredential
from azure.keyvault.certificates.aio import CertificateClient
from azure.keyvault.keys.aio import KeyClient
from azure.keyvault.secrets.aio import SecretClient
from azure.storage.blob.aio import ContainerClient


async def main(vault_url: str, container_url: str, in_flight: int) -> int:
    credential = ClientSecretCredential(
        os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"]
    )
    keys = KeyClient(vault_url, credential)
    secrets = SecretClient(vault_url, credential)
    certificates = CertificateClient(vault_url, credential)
    container = ContainerClient.from_container_url(container_url, credential)
    done = 0

    async with credential, keys, secrets, certificates, container:
        queue: asyncio.Queue = asyncio.Queue(maxsize=4 * in_flight)

        async def list_all() -> None:
            owned = set()
            async for item in certificates.list_properties_of_certificates():
                owned.add(item.name)
                await queue.put(("certificate", item.name, certificates.backup_certificate))
            async for item in keys.list_properties_of_keys():
                if item.name not in owned:
                    await queue.put(("key", item.name, keys.backup_key))
            async for item in secrets.list_properties_of_secrets():
                if item.name not in owned:
                    await queue.put(("secret", item.name, secrets.backup_secret))
            for _ in range(in_flight):
                await queue.put(None)

        async def take() -> None:
            nonlocal done
            while (item := await queue.get()) is not None:
                kind, name, backup = item
                blob = await backup(name)
                await container.upload_blob(f"{kind}/{name}.backup", blob)
                done += 1

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(list_all())
            for _ in range(in_flight):
                tasks.create_task(take())
    return done


if __name__ == "__main__":
    print(json.dumps({"objects": asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))}))
