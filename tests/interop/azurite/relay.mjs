// Takes the place of the network: a proxy that leads *.blob.core.windows.net to Azurite and every other host to the
// emulator. It looks at no byte of what it carries: TLS is between client and Azurite.
//
// node relay.mjs EMULATOR_PROXY AZURITE_PORT PORT_FILE
import { renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";

const [proxy, azurite, file] = process.argv.slice(2);
const emulator = new URL(proxy);

const relay = createServer((_, answer) => answer.writeHead(405).end());
relay.on("connect", ({ url }, client) => {
  const there = /\.blob\.core\.windows\.net:443$/.test(url)
    ? connect(azurite, "127.0.0.1", () => client.write("HTTP/1.1 200 OK\r\n\r\n"))
    : connect(emulator.port, emulator.hostname, () => there.write(`CONNECT ${url} HTTP/1.1\r\nHost: ${url}\r\n\r\n`));
  client.pipe(there).pipe(client);
  client.on("error", () => there.destroy());
  there.on("error", () => client.destroy());
});
relay.listen(0, "127.0.0.1", () => {
  writeFileSync(`${file}.part`, String(relay.address().port));
  renameSync(`${file}.part`, file);
});
