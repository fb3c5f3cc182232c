// A pod's far end at the least possible cost: answers every request head on a connection with one fixed reply.
import { createServer } from "node:net";

const body = "hello\n";
const reply = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
);
const server = createServer({ noDelay: true }, (socket) => {
  let tail = "";
  socket.on("data", (chunk) => {
    const text = tail + chunk.toString("latin1");
    const heads = text.split("\r\n\r\n");
    tail = heads.pop() ?? "";
    for (let i = 0; i < heads.length; i += 1) socket.write(reply);
  });
  socket.on("error", () => socket.destroy());
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`${address !== null && typeof address === "object" ? address.port : 0}\n`);
});
