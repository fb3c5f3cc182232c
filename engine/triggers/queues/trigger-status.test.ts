import { expect, test } from "vitest";
import type { MessageQueueTrigger } from "../../../api/kinds/index.ts";
import { nextStatus } from "./trigger-status.ts";

const trigger: MessageQueueTrigger = {
  apiVersion: "fission.io/v1",
  kind: "MessageQueueTrigger",
  metadata: { namespace: "default", name: "orders", generation: 1 },
  spec: { topic: "orders", functionref: { type: "name", name: "hello" } },
  status: { connected: true, delivered: 7, lag: 3 },
};
const NOW = new Date("2026-01-01T00:00:00Z");

test("a trigger that rests has nothing waiting, whatever was written before its last message was dealt with", () => {
  expect(nextStatus(trigger, { isResting: true }, NOW)).toMatchObject({
    connected: false,
    delivered: 7,
    lag: 0,
  });
});

test("without a consumer, what waited may wait still", () => {
  const fault = { reason: "FunctionNotFound", message: "away" };
  for (const facts of [{}, { fault }, { fault, isResting: true }])
    expect(nextStatus(trigger, facts, NOW)).toMatchObject({ connected: false, lag: 3 });
});
