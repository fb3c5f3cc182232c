import type { FunctionConfig } from "@isotope/platform";

export const config = {
  route: "/chat/{room}",
  streaming: { idleTimeout: "10m" },
  // Everybody meets in one process.
  concurrency: 1,
  requestsPerPod: 1000,
} satisfies FunctionConfig;

const rooms = new Map<string, Set<WebSocket>>();

/** WebSocket chat: whoever connects to /chat/{room} hears what the others in the room say. */
export default (request: Request): Response => {
  const room = request.headers.get("x-fission-params-room") ?? "lobby";
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return Response.json({ room, people: rooms.get(room)?.size ?? 0 });
  }
  const name = new URL(request.url).searchParams.get("name")?.slice(0, 40) || "somebody";
  const { socket, response } = Deno.upgradeWebSocket(request);
  const members = rooms.get(room) ?? new Set<WebSocket>();
  rooms.set(room, members);
  const tell = (text: string): void => {
    for (const member of members) if (member.readyState === WebSocket.OPEN) member.send(text);
  };
  socket.addEventListener("open", () => {
    members.add(socket);
    tell(`${name} joined`);
  });
  socket.addEventListener("message", ({ data }) => tell(`${name}: ${String(data).slice(0, 1000)}`));
  socket.addEventListener("close", () => {
    members.delete(socket);
    if (members.size === 0) rooms.delete(room);
    tell(`${name} left`);
  });
  return response;
};
