import { afterAll, beforeAll, expect } from "vitest";
import type { Answer, Body, Connection } from "./api-client.ts";

/** What an implementation under test offers beyond the API itself. */
export interface Target {
  connection: Connection;
}

/** The connection and a namespace of the suite's own. */
export interface Suite {
  readonly target: Target;
  readonly connection: Connection;
  readonly namespace: string;
  /** Path of a core resource in the suite's namespace. */
  core: (rest: string) => string;
  /** Path of a resource of another group in the suite's namespace. */
  group: (groupVersion: string, rest: string) => string;
  create(path: string, body: Body): Promise<Body>;
}

/** Prepares a namespace before, and removes it after, the tests of the calling describe block. */
export function useSuite(connect: () => Target): Suite {
  let target: Target | undefined;
  let namespace = "";
  beforeAll(async () => {
    target = connect();
    const made = await target.connection.request("POST", "/api/v1/namespaces", {
      metadata: { generateName: "api-" },
    });
    expect(made.status, made.text).toBe(201);
    namespace = made.body.metadata.name as string;
  });
  afterAll(async () => {
    await target?.connection.request("DELETE", `/api/v1/namespaces/${namespace}`);
  });
  const current = (): Target => {
    if (!target) throw new Error("the suite has not started");
    return target;
  };
  return {
    get target() {
      return current();
    },
    get connection() {
      return current().connection;
    },
    get namespace() {
      return namespace;
    },
    core: (rest) => `/api/v1/namespaces/${namespace}/${rest}`,
    group: (groupVersion, rest) => `/apis/${groupVersion}/namespaces/${namespace}/${rest}`,
    async create(path, body) {
      const answer = await current().connection.request("POST", path, body);
      expect(answer.status, answer.text).toBe(201);
      return answer.body;
    },
  };
}

/** Asserts a Status with this code and reason; returns its message. */
export function refused(answer: Answer, code: number, reason: string): string {
  expect(answer.status, answer.text).toBe(code);
  expect(answer.body.kind).toBe("Status");
  expect(answer.body.status).toBe("Failure");
  expect(answer.body.reason).toBe(reason);
  expect(answer.body.code).toBe(code);
  return answer.body.message as string;
}

export const configMap = (
  name: string,
  data: Record<string, string> = {},
  labels?: Record<string, string>,
): Body => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, ...(labels ? { labels } : {}) },
  data,
});
