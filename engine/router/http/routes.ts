import { parseTemplate, type Template, type TemplatePart } from "./route-template.ts";
import type { Route, RouteConflict, RouteMatch, RouteProblem, RouteTable } from "./types.ts";

/**
 * The route table: per host an exact map and a trie of segments, so that the number of routes does not show.
 *
 * 1. All routes of one shape (host, segments, prefix or not; names of variables aside) share one leaf, which knows the winner per method.
 * 2. Answers for routes without variables are made once, when the leaf changes, and never per request.
 * 3. `replace` builds aside and swaps; `set` and `remove` change the table between two requests, which run to their end before.
 */

interface Entry<P> {
  readonly route: Route<P>;
  readonly template: Template;
}

class Leaf<P> {
  /** In order of precedence. */
  entries: Entry<P>[] = [];
  byMethod = new Map<string, Entry<P>>();
  anyMethod: Entry<P> | undefined;
  found = new Map<string, RouteMatch<P>>();

  add(entry: Entry<P>): void {
    this.entries.push(entry);
    this.entries.sort((a, b) => a.route.order - b.route.order || (a.route.id < b.route.id ? -1 : 1));
    this.#derive();
  }

  remove(id: string): void {
    this.entries = this.entries.filter((entry) => entry.route.id !== id);
    this.#derive();
  }

  get(method: string): Entry<P> | undefined {
    return this.byMethod.get(method) ?? this.anyMethod;
  }

  #derive(): void {
    this.byMethod = new Map();
    this.anyMethod = undefined;
    for (const entry of this.entries) {
      // A route for every method leaves nothing to those behind it.
      if (this.anyMethod !== undefined) break;
      if (entry.route.methods.length === 0) this.anyMethod = entry;
      for (const method of entry.route.methods)
        if (!this.byMethod.has(method)) this.byMethod.set(method, entry);
    }
    this.found.clear();
  }

  match(entry: Entry<P>): RouteMatch<P> {
    let match = this.found.get(entry.route.id);
    if (match === undefined) {
      match = { kind: "route", route: entry.route, names: NO_STRINGS, params: NO_STRINGS };
      this.found.set(entry.route.id, match);
    }
    return match;
  }
}

interface PatternEdge<P> {
  readonly part: TemplatePart & { kind: "pattern" | "rest" };
  readonly node: Node<P>;
}

class Node<P> {
  readonly literals = new Map<string, Node<P>>();
  readonly patterns: PatternEdge<P>[] = [];
  readonly rests: PatternEdge<P>[] = [];
  variable: Node<P> | undefined;
  /** Of templates and of prefixes that end here. */
  leaf: Leaf<P> | undefined;
  prefix: Leaf<P> | undefined;

  get empty(): boolean {
    return (
      this.literals.size === 0 &&
      this.patterns.length === 0 &&
      this.rests.length === 0 &&
      this.variable === undefined &&
      this.leaf === undefined &&
      this.prefix === undefined
    );
  }
}

/** What a lookup gathers on its way through the trie. */
interface Search<P> {
  readonly method: string;
  readonly path: string;
  readonly prefixes: boolean;
  readonly params: string[];
  best: Entry<P> | undefined;
  bestDepth: number;
  bestParams: string[];
  missed: Entry<P>[];
}

class HostRoutes<P> {
  readonly exact = new Map<string, Leaf<P>>();
  readonly root = new Node<P>();
  templates = 0;
  prefixes = 0;
}

const NO_STRINGS: readonly string[] = [];
const NONE = { kind: "none" } as const;

class RouteTableImpl<P> implements RouteTable<P> {
  #hosts = new Map<string, HostRoutes<P>>();
  #any = new HostRoutes<P>();
  #entries = new Map<string, Entry<P>>();

  get size(): number {
    return this.#entries.size;
  }

  match(method: string, hostname: string, path: string): RouteMatch<P> {
    const missed: Entry<P>[] = [];
    const forHost = this.#hosts.size === 0 ? undefined : this.#hosts.get(hostname);
    if (forHost !== undefined) {
      const match = matchHost(forHost, method, path, missed);
      if (match !== undefined) return match;
    }
    const match = matchHost(this.#any, method, path, missed);
    if (match !== undefined) return match;
    if (missed.length === 0) return NONE;
    const allow = new Set(missed.flatMap((entry) => entry.route.methods));
    return { kind: "method", allow: [...allow].join(", "), routes: missed.map((entry) => entry.route) };
  }

  replace(routes: readonly Route<P>[]): RouteProblem[] {
    const next = new RouteTableImpl<P>();
    const problems: RouteProblem[] = [];
    for (const route of routes) {
      const problem = next.set(route);
      if (problem !== undefined) problems.push(problem);
    }
    this.#hosts = next.#hosts;
    this.#any = next.#any;
    this.#entries = next.#entries;
    return problems;
  }

  set(route: Route<P>): RouteProblem | undefined {
    this.remove(route.id);
    const template = parseTemplate(route.path);
    if (typeof template === "string") return { id: route.id, message: template };
    const entry = { route, template };
    this.#entries.set(route.id, entry);
    const { host } = route;
    let table = host === undefined ? this.#any : this.#hosts.get(host);
    if (table === undefined) {
      table = new HostRoutes<P>();
      this.#hosts.set(host ?? "", table);
    }
    insert(table, entry);
    return undefined;
  }

  remove(id: string): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    this.#entries.delete(id);
    const { host } = entry.route;
    const table = host === undefined ? this.#any : this.#hosts.get(host);
    if (table === undefined) return false;
    erase(table, entry);
    if (host !== undefined && table.exact.size === 0 && table.root.empty) this.#hosts.delete(host);
    return true;
  }

  get(id: string): Route<P> | undefined {
    return this.#entries.get(id)?.route;
  }

  conflicts(): RouteConflict[] {
    const out: RouteConflict[] = [];
    for (const table of [this.#any, ...this.#hosts.values()]) {
      for (const leaf of leaves(table)) out.push(...leafConflicts(leaf));
    }
    return out;
  }
}

/** Makes an empty route table. */
export function createRouteTable<P>(): RouteTable<P> {
  return new RouteTableImpl<P>();
}

function matchHost<P>(
  table: HostRoutes<P>,
  method: string,
  path: string,
  missed: Entry<P>[],
): RouteMatch<P> | undefined {
  const leaf = table.exact.get(path);
  if (leaf !== undefined) {
    const entry = leaf.get(method);
    if (entry !== undefined) return leaf.match(entry);
    missed.push(...leaf.entries);
  }
  if (table.templates > 0) {
    const match = searchTrie(table, method, path, false, missed);
    if (match !== undefined) return match;
  }
  return table.prefixes > 0 ? searchTrie(table, method, path, true, missed) : undefined;
}

function searchTrie<P>(
  table: HostRoutes<P>,
  method: string,
  path: string,
  prefixes: boolean,
  missed: Entry<P>[],
): RouteMatch<P> | undefined {
  const search: Search<P> = {
    method,
    path,
    prefixes,
    params: [],
    best: undefined,
    bestDepth: -1,
    bestParams: [],
    missed,
  };
  visit(search, table.root, 1, 0);
  const { best } = search;
  if (best === undefined) return undefined;
  return { kind: "route", route: best.route, names: best.template.names, params: search.bestParams };
}

/**
 * Goes through the trie, the more specific branch first.
 * @param at where the next segment begins; beyond the path's length when there is none
 * @returns whether the search is over (a prefix search looks at every branch, for the longest)
 */
function visit<P>(search: Search<P>, node: Node<P>, at: number, depth: number): boolean {
  const { path, params } = search;
  if (search.prefixes && node.prefix !== undefined && depth > search.bestDepth)
    take(search, node.prefix, depth);
  if (at > path.length) return !search.prefixes && node.leaf !== undefined && take(search, node.leaf, depth);
  const slash = path.indexOf("/", at);
  const end = slash === -1 ? path.length : slash;
  const segment = path.slice(at, end);
  const literal = node.literals.get(segment);
  if (literal !== undefined && visit(search, literal, end + 1, depth + 1)) return true;
  for (const { part, node: next } of node.patterns) {
    const match = part.regex.exec(segment);
    if (match === null) continue;
    const before = params.length;
    for (const group of part.groups) params.push(match[group] ?? "");
    if (visit(search, next, end + 1, depth + 1)) return true;
    params.length = before;
  }
  if (node.variable !== undefined && segment !== "") {
    params.push(segment);
    if (visit(search, node.variable, end + 1, depth + 1)) return true;
    params.pop();
  }
  return node.rests.length > 0 && visitRests(search, node, at, depth);
}

function visitRests<P>(search: Search<P>, node: Node<P>, at: number, depth: number): boolean {
  const { path, params } = search;
  for (const { part, node: next } of node.rests) {
    const match = part.regex.exec(path.slice(at));
    if (match === null) continue;
    const before = params.length;
    for (const group of part.groups) params.push(match[group] ?? "");
    if (visit(search, next, path.length + 1, depth + 1)) return true;
    params.length = before;
  }
  return false;
}

function take<P>(search: Search<P>, leaf: Leaf<P>, depth: number): boolean {
  const entry = leaf.get(search.method);
  if (entry === undefined) {
    search.missed.push(...leaf.entries);
    return false;
  }
  search.best = entry;
  search.bestDepth = depth;
  search.bestParams = [...search.params];
  return true;
}

/** Nodes from the root to where a template ends, made where they are missing. */
function walk<P>(root: Node<P>, parts: readonly TemplatePart[]): Node<P>[] {
  const nodes = [root];
  let node = root;
  for (const part of parts) {
    node = child(node, part);
    nodes.push(node);
  }
  return nodes;
}

function child<P>(node: Node<P>, part: TemplatePart): Node<P> {
  if (part.kind === "literal") {
    let next = node.literals.get(part.text);
    if (next === undefined) node.literals.set(part.text, (next = new Node<P>()));
    return next;
  }
  if (part.kind === "variable") return (node.variable ??= new Node<P>());
  const edges = part.kind === "pattern" ? node.patterns : node.rests;
  const known = edges.find((edge) => edge.part.source === part.source);
  if (known !== undefined) return known.node;
  const next = new Node<P>();
  edges.push({ part, node: next });
  // Independent of the order in which routes come.
  edges.sort((a, b) => (a.part.source < b.part.source ? -1 : 1));
  return next;
}

/** A prefix covers whole segments: `/a/` is the same as `/a`, and `/` covers everything. */
function partsOf<P>({ route, template }: Entry<P>): readonly TemplatePart[] {
  const last = template.parts.at(-1);
  return route.prefix && last?.kind === "literal" && last.text === ""
    ? template.parts.slice(0, -1)
    : template.parts;
}

function insert<P>(table: HostRoutes<P>, entry: Entry<P>): void {
  const { route, template } = entry;
  if (!route.prefix && template.literal) {
    let leaf = table.exact.get(template.path);
    if (leaf === undefined) table.exact.set(template.path, (leaf = new Leaf<P>()));
    leaf.add(entry);
    return;
  }
  const node = walk(table.root, partsOf(entry)).at(-1);
  if (node === undefined) return;
  if (route.prefix) {
    table.prefixes++;
    (node.prefix ??= new Leaf<P>()).add(entry);
  } else {
    table.templates++;
    (node.leaf ??= new Leaf<P>()).add(entry);
  }
}

function erase<P>(table: HostRoutes<P>, entry: Entry<P>): void {
  const { route, template } = entry;
  if (!route.prefix && template.literal) {
    const leaf = table.exact.get(template.path);
    leaf?.remove(route.id);
    if (leaf?.entries.length === 0) table.exact.delete(template.path);
    return;
  }
  const parts = partsOf(entry);
  const nodes = walk(table.root, parts);
  const node = nodes.at(-1);
  if (node === undefined) return;
  const leaf = route.prefix ? node.prefix : node.leaf;
  leaf?.remove(route.id);
  if (route.prefix) table.prefixes--;
  else table.templates--;
  if (leaf?.entries.length === 0) {
    if (route.prefix) node.prefix = undefined;
    else node.leaf = undefined;
  }
  for (let depth = parts.length; depth > 0; depth--) {
    const part = parts[depth - 1];
    const parent = nodes[depth - 1];
    if (part === undefined || parent === undefined || nodes[depth]?.empty !== true) break;
    if (part.kind === "literal") parent.literals.delete(part.text);
    else if (part.kind === "variable") parent.variable = undefined;
    else {
      const edges = part.kind === "pattern" ? parent.patterns : parent.rests;
      edges.splice(
        edges.findIndex((edge) => edge.part.source === part.source),
        1,
      );
    }
  }
}

function* leaves<P>(table: HostRoutes<P>): Generator<Leaf<P>> {
  yield* table.exact.values();
  const stack = [table.root];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.leaf !== undefined) yield node.leaf;
    if (node.prefix !== undefined) yield node.prefix;
    if (node.variable !== undefined) stack.push(node.variable);
    for (const edge of [...node.patterns, ...node.rests]) stack.push(edge.node);
    stack.push(...node.literals.values());
  }
}

function leafConflicts<P>(leaf: Leaf<P>): RouteConflict[] {
  if (leaf.entries.length < 2) return [];
  const out: RouteConflict[] = [];
  for (const { route } of leaf.entries) {
    const lost = new Map<string, string[]>();
    for (const method of route.methods) {
      const winner = leaf.get(method);
      if (winner !== undefined && winner.route.id !== route.id) {
        lost.set(winner.route.id, [...(lost.get(winner.route.id) ?? []), method]);
      }
    }
    if (route.methods.length === 0 && leaf.anyMethod !== undefined && leaf.anyMethod.route.id !== route.id) {
      lost.set(leaf.anyMethod.route.id, []);
    }
    for (const [winner, methods] of lost) out.push({ id: route.id, winner, methods });
  }
  return out;
}
