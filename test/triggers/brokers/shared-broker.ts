import { afterAll } from "vitest";
import type { Broker } from "./broker.ts";

/** One broker for all cases of a file: started by the first that asks, removed after the last. */
export function sharedBroker<B extends Broker>(start: () => Promise<B>): () => Promise<B> {
  let started: Promise<B> | undefined;
  afterAll(async () => {
    await (await started?.catch(() => undefined))?.remove();
  });
  return () => (started ??= start());
}
