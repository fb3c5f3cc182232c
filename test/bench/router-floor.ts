// The floor of any relay in Node: bytes from one socket to another, unread.
import { connect, createServer } from "node:net";

const target = Number(process.argv[2]);
const host = process.argv[3] ?? "127.0.0.1";
const server = createServer({ noDelay: true }, (client) => {
  const upstream = connect({ port: target, host, noDelay: true });
  client.pipe(upstream).pipe(client);
  client.on("error", () => upstream.destroy());
  upstream.on("error", () => client.destroy());
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`${address !== null && typeof address === "object" ? address.port : 0}\n`);
});
