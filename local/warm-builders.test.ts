import { expect, test } from "vitest";
import { type Environment, EnvironmentSpec } from "../api/kinds/index.ts";
import type { Log } from "../net/log.ts";
import { warmBuilders } from "./warm-builders.ts";

const environment = (name: string, builder?: string, deletionTimestamp?: string): Environment => ({
  apiVersion: "fission.io/v1",
  kind: "Environment",
  metadata: { name, namespace: "default", ...(deletionTimestamp ? { deletionTimestamp } : {}) },
  spec: EnvironmentSpec.parse({
    version: 3,
    runtime: { image: "isotope/deno-env" },
    ...(builder ? { builder: { image: builder } } : {}),
  }),
});
const said: string[] = [];
const say = (message: string): void => void said.push(message);
const log: Log = { debug: say, info: say, warn: say, error: say, with: () => log };

test("every environment with a builder has it started; one that cannot be does not hold up the next", async () => {
  const warmed: string[] = [];
  await warmBuilders({
    environments: () => [
      environment("none"),
      environment("broken", "isotope/builder"),
      environment("going", "isotope/builder", "2026-01-01T00:00:00Z"),
      environment("deno", "isotope/builder"),
    ],
    warm: async ({ metadata }) => {
      if (metadata.name === "broken") throw new Error("no room");
      warmed.push(metadata.name);
    },
    afterMs: 0,
    signal: new AbortController().signal,
    log,
  });
  expect(warmed).toEqual(["deno"]);
  expect(said).toEqual(["Cannot start a builder before its first build"]);
});

test("a platform that stops meanwhile starts none", async () => {
  const stopping = new AbortController();
  let asked = false;
  const done = warmBuilders({
    environments: () => {
      asked = true;
      return [];
    },
    warm: async () => {},
    afterMs: 60_000,
    signal: stopping.signal,
    log,
  });
  stopping.abort();
  await done;
  expect(asked).toBe(false);
});
