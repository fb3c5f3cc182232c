import { describe, expect, it } from "vitest";
import { SOURCES, sourceConfigFaults, sourceTypeFault } from "./index.ts";
import { settingFacts } from "./setting-facts.ts";

describe("sources of messages", () => {
  it("describe each setting: what it is, what is allowed, what holds without it", () => {
    for (const { type, config } of SOURCES)
      for (const { name, what, allowed, isRequired, fallback } of settingFacts(config)) {
        expect(what, `${type} ${name}`).not.toBe("");
        expect(allowed, `${type} ${name}`).not.toBe("a text");
        expect(isRequired && fallback !== undefined, `${type} ${name}`).toBe(false);
      }
  });

  it("accept what their pages show", () => {
    for (const { type, example } of SOURCES) expect(sourceConfigFaults(type, example), type).toEqual([]);
  });

  it("accept the address of a cluster", () => {
    for (const address of ["redis+cluster://a:1,b:2", "rediss+cluster://a:1", "redis://a:1/2"])
      expect(sourceConfigFaults("redis-streams", { address })).toEqual([]);
  });

  it.each([
    ["kafka", {}, 'metadata "bootstrapServers" is required: host:port of each server'],
    ["kafka", { bootstrapServers: "x" }, 'metadata "bootstrapServers" must be host:port of each server'],
    [
      "kafka",
      { bootstrapServers: "a:1", group: "g" },
      'metadata has unknown "group": allowed are bootstrapServers,',
    ],
    ["kafka", { bootstrapServers: "a:1", consumerGroup: "" }, 'must be 1..249 characters, got ""'],
    ["redis-streams", { ordering: "some" }, '"ordering" must be one of "key", "topic", "none", got "some"'],
    ["redis-streams", { window: "0" }, '"window" must be a whole number 1..10000, got "0"'],
    ["redis-streams", { address: "redis://me:pw@host" }, '"address" must be redis://host:port or'],
    [
      "redis-streams",
      { address: "redis+cluster://a:1,b" },
      "of a cluster redis+cluster://host:port,host:port",
    ],
    ["nats-jetstream", { servers: "a:1", tls: "yes" }, '"tls" must be one of "true", "false", got "yes"'],
    ["azure-storage-queue", { endpoint: "here" }, '"endpoint" must be a URL that starts with https://'],
  ])("%s with %j: %s", (type, metadata: Record<string, string>, sentence) => {
    expect(sourceConfigFaults(type, metadata).join("\n")).toContain(sentence);
  });

  it("name what there is, and what to use instead of what has reached its end of life", () => {
    expect(sourceTypeFault("rabbit")).toMatch(/must be one of "redis-streams".*got "rabbit"/);
    for (const type of ["nats-streaming", "stan"])
      for (const part of ["end of life", "nats-jetstream", "servers=", "stream=", `"${type}"`])
        expect(sourceTypeFault(type)).toContain(part);
  });
});
