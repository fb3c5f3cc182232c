// Any HTTP server, as a container function runs one: it knows nothing of the platform. It says what it was given, and fails its readiness
// probe after a request for /unready.
import { createServer } from "node:http";

const [host, port] = process.argv.slice(2);
let calls = 0;
let ready = true;
const server = createServer((request, response) => {
  if (request.url === "/ready") {
    response.writeHead(ready ? 200 : 503).end();
    return;
  }
  if (request.url === "/unready") ready = false;
  calls += 1;
  response.end(
    JSON.stringify({ calls, path: request.url, pid: process.pid, greeting: process.env.GREETING }),
  );
});
process.on("SIGTERM", () => server.close(() => process.exit(0)));
server.listen(Number(port), host);
