/**
 * The process of a function pod: starts generic, warms itself, becomes ready, is specialised once, serves, drains on SIGTERM.
 *
 *   deno run <flags.ts> main.ts --host <address> --port <port> --root <the pod's own folder> [--userfunc <folder>] [--secrets <folder>] [--configs <folder>]
 */
import { beginDrain } from "./drain.ts";
import {
  describeError,
  interceptConsole,
  interceptExit,
  interceptServe,
  interceptSignal,
  interceptUncaught,
  interceptWebSockets,
  removeSharedGlobals,
} from "./intercept.ts";
import { createLog } from "./log.ts";
import { genericPod } from "./pod.ts";
import { createPodServer, type PodServer } from "./server.ts";
import { answerSystemFacts } from "./system-facts.ts";
import { takeSettings } from "./settings.ts";
import { warmUp } from "./warm.ts";

const settings = takeSettings(Deno.args, Deno.env);
const { root, host, port } = settings;
const pod = genericPod(settings.podUid);
const writeOut = Deno.stdout.writeSync.bind(Deno.stdout);
const exit = Deno.exit.bind(Deno);
const serve = Deno.serve.bind(Deno);

Deno.mkdirSync(`${root}/tmp`, { recursive: true });
Deno.chdir(root);

let ready = false;
let exiting = false;
let server: PodServer | null = null;
const sockets = new Set<WebSocket>();

const log = createLog({
  output: (bytes) => {
    for (let at = 0; at < bytes.length; ) at += writeOut(at === 0 ? bytes : bytes.subarray(at));
  },
  requestId: () => server?.requestId(),
});
log.identify({ function: "", namespace: settings.namespace, revision: "", pod: settings.podName });

const drain = beginDrain({
  pod,
  log,
  drainMs: settings.drainMs,
  running: () => server?.running,
  sockets,
  exit: () => {
    exiting = true;
    exit(0);
  },
});

server = createPodServer({
  pod,
  token: settings.token,
  log,
  drain,
  ready: () => ready,
  specialization: {
    pod,
    settings,
    log,
    served: interceptServe(log),
    seal: () => {
      for (const path of [root, settings.secrets, settings.configs])
        Deno.permissions.revokeSync({ name: "write", path });
    },
  },
});
const { handle, onError } = server;

interceptSignal();
interceptWebSockets((socket, closed) => {
  sockets.add(socket);
  socket.addEventListener("close", () => {
    sockets.delete(socket);
    closed();
  });
});
interceptConsole(log);
removeSharedGlobals();
answerSystemFacts(settings.podName, `${root}/tmp`);
interceptUncaught(log);
interceptExit(log, () => exiting);
Deno.addSignalListener("SIGTERM", drain);

serve({ hostname: host, port, onListen: () => {}, onError }, handle);
try {
  await warmUp(serve, settings);
  ready = true;
} catch (error) {
  // A pod that cannot rehearse would never become ready: let its owner see it end.
  const { message, stack } = describeError(error);
  log.write("error", message, { stack });
  exiting = true;
  exit(1);
}
