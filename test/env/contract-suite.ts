import { describe, expect, it } from "vitest";

/** A running image of the environment contract, before it is specialised. */
export interface EnvironmentImage {
  readonly address: string;
  /** Puts code where the contract has it: `user` for v1, `deployarchive` (file or folder) for v2 and v3. Returns its path for the image. */
  place(name: string, content: string): string;
  stop(): Promise<void>;
}

/** What the suite needs to know of an image's language: functions of its usual form. */
export interface ContractSources {
  /** Replies 200 with the text `hello`. */
  readonly hello: string;
  /** Replies with the method, the path with query, and the body, joined by one space. */
  readonly echo: string;
  /** A file with the exports (or handlers) `first` and `second`, which reply with their name. */
  readonly named: { readonly file: string; readonly source: string };
  /** Replies 418 with the header `x-kind: pot`. */
  readonly teapot: string;
  readonly throwing: string;
  /** Does not parse. */
  readonly broken: string;
}

/** The contract of `reference/wire.md` 2.1, as a suite for any image that meets it. */
export function environmentContract(
  image: string,
  start: () => Promise<EnvironmentImage>,
  sources: ContractSources,
): void {
  const withImage = async (use: (running: EnvironmentImage) => Promise<void>): Promise<void> => {
    const running = await start();
    try {
      await use(running);
    } finally {
      await running.stop();
    }
  };
  const load = (running: EnvironmentImage, message: unknown): Promise<Response> =>
    fetch(`${running.address}/v2/specialize`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(message),
    });
  const metadata = { name: "hello", namespace: "default", uid: "uid-1", resourceVersion: "7" };

  describe(`environment contract: ${image}`, () => {
    it("refuses requests before it is specialised", () =>
      withImage(async ({ address }) => {
        const reply = await fetch(`${address}/anything`);
        expect(reply.status).toBe(500);
        expect(await reply.text()).toContain("Generic container: no requests supported");
      }));

    it("is specialised by v1 with the file /userfunc/user", () =>
      withImage(async (running) => {
        running.place("user", sources.hello);
        const reply = await fetch(`${running.address}/specialize`, {
          method: "POST",
          headers: { "content-type": "text/plain" },
        });
        expect(reply.status).toBeLessThan(300);
        const answer = await fetch(running.address);
        expect([answer.status, await answer.text()]).toEqual([200, "hello"]);
      }));

    for (const envVersion of [2, 3]) {
      it(`is specialised by v${envVersion} with a file and its metadata`, () =>
        withImage(async (running) => {
          const filepath = running.place("deployarchive", sources.hello);
          const message = { filepath, functionName: "", url: "", FunctionMetadata: metadata, envVersion };
          expect((await load(running, message)).status).toBeLessThan(300);
          expect(await (await fetch(running.address)).text()).toBe("hello");
        }));
    }

    it("takes a message without metadata", () =>
      withImage(async (running) => {
        const filepath = running.place("deployarchive", sources.hello);
        const message = { filepath, functionName: "", url: "", FunctionMetadata: null, envVersion: 2 };
        expect((await load(running, message)).status).toBeLessThan(300);
        expect(await (await fetch(running.address)).text()).toBe("hello");
      }));

    it.each(["first", "second"])("finds the entry point in a folder: %s", (name) =>
      withImage(async (running) => {
        const { file, source } = sources.named;
        const path = running.place(`deployarchive/${file}`, source);
        const filepath = path.slice(0, path.lastIndexOf("/"));
        const functionName = `${file.slice(0, file.lastIndexOf("."))}.${name}`;
        const reply = await load(running, {
          filepath,
          functionName,
          url: "",
          FunctionMetadata: metadata,
          envVersion: 3,
        });
        expect(reply.status).toBeLessThan(300);
        expect(await (await fetch(running.address)).text()).toBe(name);
      }),
    );

    it("serves every method and path once specialised", () =>
      withImage(async (running) => {
        const filepath = running.place("deployarchive", sources.echo);
        await load(running, {
          filepath,
          functionName: "",
          url: "",
          FunctionMetadata: metadata,
          envVersion: 3,
        });
        for (const [method, path, body] of [
          ["GET", "/", undefined],
          ["GET", "/a/b?c=d", undefined],
          ["POST", "/v2/specialize", "text"],
          ["PUT", "/specialize", "text"],
          ["DELETE", "/healthz/x", undefined],
        ] as const) {
          const reply = await fetch(running.address + path, {
            method,
            ...(body === undefined ? {} : { body, headers: { "content-type": "text/plain" } }),
          });
          expect(await reply.text()).toBe(`${method} ${path} ${body ?? ""}`);
        }
      }));

    it("passes status and headers on", () =>
      withImage(async (running) => {
        const filepath = running.place("deployarchive", sources.teapot);
        await load(running, {
          filepath,
          functionName: "",
          url: "",
          FunctionMetadata: metadata,
          envVersion: 3,
        });
        const reply = await fetch(running.address);
        expect([reply.status, reply.headers.get("x-kind")]).toEqual([418, "pot"]);
      }));

    it("answers 500 when the function throws, and goes on", () =>
      withImage(async (running) => {
        const filepath = running.place("deployarchive", sources.throwing);
        await load(running, {
          filepath,
          functionName: "",
          url: "",
          FunctionMetadata: metadata,
          envVersion: 3,
        });
        expect((await fetch(running.address)).status).toBe(500);
        expect((await fetch(running.address)).status).toBe(500);
      }));

    it("fails to specialise with code that does not load, with a file that is not there, and with no JSON", async () => {
      await withImage(async (running) => {
        const filepath = running.place("deployarchive", sources.broken);
        const message = { filepath, functionName: "", url: "", FunctionMetadata: metadata, envVersion: 3 };
        expect((await load(running, message)).status).toBeGreaterThanOrEqual(400);
      });
      await withImage(async (running) => {
        const filepath = `${running.place("other", "")}-missing`;
        const message = { filepath, functionName: "", url: "", FunctionMetadata: metadata, envVersion: 3 };
        expect((await load(running, message)).status).toBeGreaterThanOrEqual(400);
      });
      await withImage(async ({ address }) => {
        const reply = await fetch(`${address}/v2/specialize`, { method: "POST", body: "{" });
        expect(reply.status).toBeGreaterThanOrEqual(400);
      });
    });
  });
}
