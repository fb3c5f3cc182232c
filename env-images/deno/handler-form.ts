/**
 * How a function wants to be called.
 *
 * - `request`: `(request, ctx)`, the web form and the default.
 * - `context`: the reference system's Node form, `(context) => ({status, body, headers})`.
 * - `callback`: its older form, `(context, callback)`.
 * - `node`: `(req, res)`, as for `http.createServer`; an Express application is one.
 *
 * A function with one parameter may be either of the first two. The rule, in this order:
 * 1. The environment variable `ISOTOPE_HANDLER_FORM` names the form.
 * 2. The names of its parameters (`context`, `ctx` first → context; `req`, `res` → node; `callback`, `cb`, `done` second → callback),
 *    digits that a bundler put behind them aside, or what the first parameter takes apart (`{ request }` → context).
 * 3. What its text does with them: `x.request` of the first → context; `y.end(`, `y.writeHead(`, `y.status(` of the second → node;
 *    this is left when a minifier has renamed them.
 * 4. `request`.
 */
export const HANDLER_FORMS = ["request", "context", "callback", "node"] as const;
export type HandlerForm = (typeof HANDLER_FORMS)[number];

export const ENV_HANDLER_FORM = "ISOTOPE_HANDLER_FORM";

const CLOSING: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** The index behind the string, comment or bracket pair that begins at `at`; `at + 1` when none does. */
function skip(text: string, at: number): number {
  const char = text[at] ?? "";
  if (char === '"' || char === "'" || char === "`") {
    let end = at + 1;
    while (end < text.length && text[end] !== char) end += text[end] === "\\" ? 2 : 1;
    return end + 1;
  }
  if (text.startsWith("//", at)) return text.indexOf("\n", at) === -1 ? text.length : text.indexOf("\n", at);
  if (text.startsWith("/*", at))
    return text.indexOf("*/", at) === -1 ? text.length : text.indexOf("*/", at) + 2;
  const closing = CLOSING[char];
  if (closing === undefined) return at + 1;
  let end = at + 1;
  while (end < text.length && text[end] !== closing) end = skip(text, end);
  return end + 1;
}

/** The parameters of a function's text, one string each, without defaults. Empty when the text is not understood. */
export function parameters(source: string): string[] {
  const arrow = /^(?:async\s+)?([A-Za-z_$][\w$]*)\s*=>/.exec(source);
  if (arrow?.[1] !== undefined) return [arrow[1]];
  let open = 0;
  while (open < source.length && source[open] !== "(")
    open = source[open] === "/" || source[open] === "[" ? skip(source, open) : open + 1;
  if (open >= source.length) return [];
  const end = skip(source, open) - 1;
  const result: string[] = [];
  let from = open + 1;
  for (let at = from; at < end; ) {
    if (source[at] === ",") {
      result.push(source.slice(from, at));
      at += 1;
      from = at;
    } else {
      at = skip(source, at);
    }
  }
  result.push(source.slice(from, end));
  return result
    .map((text) => text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, "").trim())
    .filter((text) => text !== "")
    .map((text) => (text.startsWith("{") || text.startsWith("[") ? text : (text.split("=")[0] ?? "").trim()));
}

const base = (name: string | undefined): string => (name ?? "").replace(/^_+|[_\d]+$/g, "").toLowerCase();
/** What a parameter's name says of the form; a function that broke `Set` must still load. */
type Role = "context" | "request" | "response" | "callback";
const ROLES: Readonly<Record<string, Role>> = Object.assign(Object.create(null), {
  context: "context",
  ctx: "context",
  request: "request",
  req: "request",
  response: "response",
  res: "response",
  reply: "response",
  callback: "callback",
  cb: "callback",
  done: "callback",
});
const roleOf = (name: string | undefined): Role | undefined => ROLES[base(name)];

const escape = (name: string): string => name.replace(/\$/g, "\\$&");
const isName = (text: string | undefined): text is string =>
  text !== undefined && /^[A-Za-z_$][\w$]*$/.test(text);

function readsRequest(source: string, name: string): boolean {
  const id = escape(name);
  return (
    new RegExp(`(?<![\\w$.])${id}\\s*(?:\\?\\.|\\.)\\s*request\\b`).test(source) ||
    new RegExp(`(?<![\\w$.])${id}\\s*\\[\\s*["'\`]request["'\`]`).test(source) ||
    new RegExp(`\\{[^{}]*\\brequest\\b[^{}]*\\}\\s*=\\s*${id}(?![\\w$])`).test(source)
  );
}

/** Which form the text of a function has; `arity` is its `length`. */
export function classifyHandler(source: string, arity: number): HandlerForm {
  const [first, second] = parameters(source);
  const two = arity >= 2 || second !== undefined;
  if (first?.startsWith("{"))
    return /\{(?:[^}]*,)?\s*request\s*[:,}=]/.test(first) ? (two ? "callback" : "context") : "request";
  if (roleOf(first) === "context") return two ? "callback" : "context";
  if (roleOf(second) === "callback") return "callback";
  if (roleOf(second) === "response") return "node";
  if (roleOf(first) === "request") return "request";
  if (isName(first) && readsRequest(source, first)) return two ? "callback" : "context";
  if (isName(second)) {
    const used = new RegExp(
      `(?<![\\w$.])${escape(second)}\\s*\\.\\s*(?:end|writeHead|write|status|send|json|setHeader)\\s*\\(`,
    );
    if (used.test(source)) return "node";
  }
  return "request";
}
