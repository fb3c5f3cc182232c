import { Hono } from "hono";
import type { FunctionConfig } from "@isotope/platform";
import { z } from "zod";

export const config = {
  route: { prefix: "/todos" },
  cors: { origins: ["*"], headers: ["content-type"] },
  timeout: "10s",
  // The list lives in the process: one process holds it for all callers.
  concurrency: 1,
  requestsPerPod: 200,
} satisfies FunctionConfig;

const NewTodo = z.object({
  title: z.string().trim().min(1, "must not be empty").max(200),
  due: z.iso.date().optional(),
});

interface Todo extends z.infer<typeof NewTodo> {
  id: string;
  done: boolean;
}

const todos = new Map<string, Todo>();
const app = new Hono().basePath("/todos");

app.get("/", (c) => c.json([...todos.values()]));

app.post("/", async (c) => {
  const parsed = NewTodo.safeParse(await c.req.json().catch(() => undefined));
  if (!parsed.success) return c.json({ errors: z.flattenError(parsed.error).fieldErrors }, 422);
  const todo: Todo = { id: crypto.randomUUID(), done: false, ...parsed.data };
  todos.set(todo.id, todo);
  return c.json(todo, 201);
});

app.put("/:id/done", (c) => {
  const todo = todos.get(c.req.param("id"));
  if (!todo) return c.json({ error: `no todo ${c.req.param("id")}` }, 404);
  todo.done = true;
  return c.json(todo);
});

app.delete("/:id", (c) =>
  todos.delete(c.req.param("id")) ? c.body(null, 204) : c.json({ error: "not found" }, 404),
);

/** A JSON API with validation: GET and POST /todos, PUT /todos/{id}/done, DELETE /todos/{id}. */
export default app;
