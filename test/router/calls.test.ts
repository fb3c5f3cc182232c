import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createWorld, type World } from "./world.ts";

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

interface Echo {
  pod: string;
  name: string;
  revision: string;
  url: string;
  headers: Record<string, string>;
}
const echo = async (reply: Response): Promise<Echo> => reply.json() as Promise<Echo>;

describe("a call", () => {
  test("cold: one acquire, then warm calls without any", async () => {
    world.deploy();
    world.trigger("t", { relativeurl: "/hello" });
    const { url } = await world.router();
    const first = await fetch(`${url}/hello?x=1`);
    expect(first.status).toBe(200);
    expect(await echo(first)).toMatchObject({ name: "hello", revision: "r1", url: "/hello?x=1" });
    for (let i = 0; i < 5; i += 1) expect((await fetch(`${url}/hello`)).status).toBe(200);
    expect(world.executor.acquires).toHaveLength(1);
  });
});
