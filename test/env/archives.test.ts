import { readFileSync, statSync } from "node:fs";
import { crc32, deflateRawSync } from "node:zlib";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { SpecializeRequest } from "../../api/wire/specialize.ts";
import { POD_ENV } from "../../api/wire/pod.ts";
import * as settings from "../../env-images/deno/settings.ts";
import { crc32 as ownCrc32 } from "../../env-images/deno/crc32.ts";
import { checkSpecializeRequest, MalformedMessage } from "../../env-images/deno/specialize-message.ts";
import { readZip, UnsafeArchive, ZIP_LIMITS } from "../../env-images/deno/zip.ts";
import { podCalls } from "../../engine/executor/pod-calls.ts";
import {
  call,
  controlCall,
  frame,
  postSpecialize,
  specialize,
  specializeRequest,
  startFunction,
  startPod,
  stopPods,
  json,
} from "./deno-pod.ts";

afterEach(stopPods);

interface Part {
  name: string;
  content?: string | Buffer;
  /** What the headers claim instead of the truth. */
  local?: Partial<Record<"name" | "crc" | "packed" | "size" | "method" | "flags", string | number>>;
  central?: Partial<
    Record<
      "name" | "crc" | "packed" | "size" | "method" | "flags" | "offset" | "attributes" | "madeBy",
      string | number
    >
  >;
  extra?: Buffer;
  deflate?: boolean;
}

/** A zip that may lie. */
function zipOf(
  parts: readonly Part[],
  end: Partial<{ count: number; start: number; disk: number; comment: string }> = {},
): Uint8Array<ArrayBuffer> {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const {
    name,
    content = "",
    local = {},
    central = {},
    extra = Buffer.alloc(0),
    deflate = false,
  } of parts) {
    const data = Buffer.from(content);
    const packed = deflate ? deflateRawSync(data) : data;
    const truth = {
      name,
      crc: crc32(data),
      packed: packed.length,
      size: data.length,
      method: deflate ? 8 : 0,
      flags: 0x0800,
    };
    const fields = (claim: Record<string, string | number>): Buffer => {
      const all: Record<string, string | number> = { ...truth, ...claim };
      const head = Buffer.alloc(26);
      head.writeUInt16LE(20, 0);
      head.writeUInt16LE(Number(all["flags"]), 2);
      head.writeUInt16LE(Number(all["method"]), 4);
      head.writeUInt32LE(Number(all["crc"]), 10);
      head.writeUInt32LE(Number(all["packed"]), 14);
      head.writeUInt32LE(Number(all["size"]), 18);
      head.writeUInt16LE(Buffer.byteLength(String(all["name"])), 22);
      head.writeUInt16LE(extra.length, 24);
      return head;
    };
    const localName = Buffer.from(String(local.name ?? name));
    const file = Buffer.concat([
      Buffer.from("PK\u0003\u0004", "latin1"),
      fields(local),
      localName,
      extra,
      packed,
    ]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(Number(central.attributes ?? 0), 6);
    tail.writeUInt32LE(Number(central.offset ?? offset), 10);
    const madeBy = Buffer.from([0, Number(central.madeBy ?? 3)]);
    directory.push(
      Buffer.concat([
        Buffer.from("PK\u0001\u0002", "latin1"),
        madeBy,
        fields(central),
        tail,
        Buffer.from(String(central.name ?? name)),
        extra,
      ]),
    );
    files.push(file);
    offset += file.length;
  }
  const list = Buffer.concat(directory);
  const last = Buffer.alloc(22);
  last.write("PK\u0005\u0006", 0, "latin1");
  last.writeUInt16LE(end.disk ?? 0, 4);
  last.writeUInt16LE(end.count ?? parts.length, 8);
  last.writeUInt16LE(end.count ?? parts.length, 10);
  last.writeUInt32LE(list.length, 12);
  last.writeUInt32LE(end.start ?? offset, 16);
  last.writeUInt16LE((end.comment ?? "").length, 20);
  return new Uint8Array(Buffer.concat([...files, list, last, Buffer.from(end.comment ?? "")]));
}

const UNIX_LINK = 0o120777 * 65536;
const UNIX_DEVICE = 0o060644 * 65536;
const zip64 = Buffer.from([1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

describe("readZip", () => {
  it("reads stored and deflated files, folders aside", async () => {
    const files = await readZip(
      zipOf(
        [
          { name: "a/" },
          { name: "a/b.js", content: "stored" },
          { name: "c.js", content: "deflated ".repeat(50), deflate: true },
          { name: "é.txt", content: "" },
        ],
        { comment: "hello" },
      ),
    );
    expect(files.map((file) => [file.name, Buffer.from(file.content ?? "held back").toString()])).toEqual([
      ["a/b.js", "stored"],
      ["c.js", "deflated ".repeat(50)],
      ["é.txt", ""],
    ]);
  });

  it.each<[string, Uint8Array<ArrayBuffer>]>([
    ["a path out of the folder", zipOf([{ name: "../x" }])],
    ["a path out of a folder inside", zipOf([{ name: "a/../../x" }])],
    ["a dot segment", zipOf([{ name: "./x" }])],
    ["an absolute path", zipOf([{ name: "/etc/passwd" }])],
    ["a doubled slash", zipOf([{ name: "a//b" }])],
    ["a backslash", zipOf([{ name: "a\\b" }])],
    ["a drive letter", zipOf([{ name: "C:x" }])],
    ["a NUL", zipOf([{ name: "a\u0000b" }])],
    ["a line break", zipOf([{ name: "a\nb" }])],
    ["a name that is not UTF-8", zipOf([{ name: "\ufffd" }])],
    ["no name", zipOf([{ name: "" }])],
    ["a very long name", zipOf([{ name: "x".repeat(2000) }])],
    ["a very long segment", zipOf([{ name: "x".repeat(300) }])],
    ["too many folders", zipOf([{ name: `${"a/".repeat(40)}x` }])],
    ["a symbolic link", zipOf([{ name: "l", content: "/etc/passwd", central: { attributes: UNIX_LINK } }])],
    ["a device", zipOf([{ name: "d", central: { attributes: UNIX_DEVICE } }])],
    ["the same name twice", zipOf([{ name: "a" }, { name: "a" }])],
    ["the same name in other letter case", zipOf([{ name: "index.js" }, { name: "INDEX.js" }])],
    ["a file that is a folder of others", zipOf([{ name: "a" }, { name: "a/b" }])],
    ["an encrypted entry", zipOf([{ name: "a", local: { flags: 0x801 }, central: { flags: 0x801 } }])],
    ["another compression", zipOf([{ name: "a", local: { method: 14 }, central: { method: 14 } }])],
    ["another name in the local header", zipOf([{ name: "a.js", local: { name: "b.js" } }])],
    ["another size in the local header", zipOf([{ name: "a", content: "xy", local: { size: 1 } }])],
    ["another method in the local header", zipOf([{ name: "a", content: "xy", local: { method: 8 } }])],
    ["another checksum", zipOf([{ name: "a", content: "xy", local: { crc: 1 }, central: { crc: 1 } }])],
    [
      "a stored entry with two sizes",
      zipOf([{ name: "a", content: "xy", local: { size: 9 }, central: { size: 9 } }]),
    ],
    [
      "more content than it says",
      zipOf([
        { name: "a", content: "x".repeat(100), deflate: true, local: { size: 50 }, central: { size: 50 } },
      ]),
    ],
    [
      "less content than it says",
      zipOf([
        { name: "a", content: "x".repeat(100), deflate: true, local: { size: 150 }, central: { size: 150 } },
      ]),
    ],
    [
      "deflate data that is none",
      zipOf([{ name: "a", content: "not deflated", local: { method: 8 }, central: { method: 8 } }]),
    ],
    ["a bomb by ratio", zipOf([{ name: "a", content: Buffer.alloc(80 << 20), deflate: true }])],
    [
      "a bomb by claim",
      zipOf([
        {
          name: "a",
          content: "x",
          deflate: true,
          local: { size: 0x7fffffff },
          central: { size: 0x7fffffff },
        },
      ]),
    ],
    [
      "overlapping entries",
      zipOf([
        { name: "a", content: "xy" },
        { name: "a2", content: "z", central: { offset: 0, name: "a" } },
      ]),
    ],
    ["an offset behind the end", zipOf([{ name: "a", central: { offset: 5000 } }])],
    ["zip64", zipOf([{ name: "a", extra: zip64 }])],
    ["a zip64 count", zipOf([{ name: "a" }], { count: 0xffff })],
    ["a wrong count", zipOf([{ name: "a" }], { count: 2 })],
    ["several disks", zipOf([{ name: "a" }], { disk: 1 })],
    ["a directory elsewhere", zipOf([{ name: "a" }], { start: 3 })],
    ["a cut archive", zipOf([{ name: "a", content: "x".repeat(100) }]).slice(0, 80)],
    ["bytes after the end", new Uint8Array([...zipOf([{ name: "a" }]), 1, 2])],
    ["only the signature", new Uint8Array(Buffer.from("PK\u0003\u0004"))],
  ])("refuses %s", async (_name, bytes) => {
    await expect(readZip(bytes)).rejects.toBeInstanceOf(UnsafeArchive);
  });

  it("bounds the number of entries and their sum", async () => {
    const parts = Array.from({ length: 5 }, (_, index) => ({ name: `f${index}`, content: "x".repeat(10) }));
    await expect(readZip(zipOf(parts), { ...ZIP_LIMITS, entries: 4 })).rejects.toThrow(
      "at most 4 are allowed",
    );
    await expect(readZip(zipOf(parts), { ...ZIP_LIMITS, totalBytes: 49 })).rejects.toThrow(
      "more than 49 bytes",
    );
    await expect(readZip(zipOf(parts), { ...ZIP_LIMITS, entryBytes: 9 })).rejects.toThrow(
      "at most 9 are allowed",
    );
  });

  it("never throws anything else, whatever byte is changed", async () => {
    const whole = zipOf([
      { name: "a/b.js", content: "content ".repeat(20), deflate: true },
      { name: "c", content: "xy" },
    ]);
    for (let at = 0; at < whole.length; at += 1) {
      for (const value of [0, 0x7f, 0xff]) {
        const bytes = whole.slice();
        bytes[at] = value;
        await readZip(bytes).catch((error: unknown) => expect(error).toBeInstanceOf(UnsafeArchive));
      }
    }
  });
});

describe("the specialise message", () => {
  const pod = { uid: "p" };
  const valid = () => specializeRequest(pod as never, Buffer.from("x"));
  const change = (path: string, value: unknown): unknown => {
    const message = structuredClone(valid()) as unknown as Record<string, unknown>;
    const keys = path.split(".");
    let at: Record<string, unknown> = message;
    for (const key of keys.slice(0, -1)) at = at[key] as Record<string, unknown>;
    const last = keys.at(-1) ?? "";
    if (value === undefined) delete at[last];
    else at[last] = value;
    return message;
  };
  const mount = { namespace: "default", name: "s", data: { key: "eA==" } };

  it("is taken as it is", () => {
    const message = {
      ...valid(),
      env: { A: "b", __proto__x: "c" },
      secrets: [{ ...mount, mountPath: "/etc/app" }],
      configMaps: [mount],
    };
    expect(checkSpecializeRequest(message)).toEqual({
      ...message,
      secrets: [{ ...mount, mountPath: "etc/app" }],
    });
  });

  it.each([
    ["podUid", 1],
    ["podUid", undefined],
    ["revision", ""],
    ["revision", null],
    ["function", []],
    ["function", "x"],
    ["function.name", 7],
    ["function.namespace", undefined],
    ["function.uid", {}],
    ["functionName", undefined],
    ["archive", null],
    ["archive.sha256", "xyz"],
    ["archive.sha256", "A".repeat(64)],
    ["archive.sizeBytes", -1],
    ["archive.sizeBytes", 1.5],
    ["archive.sizeBytes", "1"],
    ["env", []],
    ["env", null],
    ["env", { A: 1 }],
    ["env", { "A=B": "x" }],
    ["env", { "": "x" }],
    ["env", { A: "x\u0000" }],
    ["secrets", {}],
    ["secrets", [1]],
    ["secrets", [{ ...mount, name: "../x" }]],
    ["secrets", [{ ...mount, name: ".." }]],
    ["secrets", [{ ...mount, namespace: "a/b" }]],
    ["secrets", [{ ...mount, data: { "../k": "eA==" } }]],
    ["secrets", [{ ...mount, data: { k: "no base64!" } }]],
    ["secrets", [{ ...mount, data: { k: 1 } }]],
    ["secrets", [{ ...mount, mountPath: "../../etc" }]],
    ["secrets", [{ ...mount, mountPath: "" }]],
    ["configMaps", [{ ...mount, mountPath: "a/../b" }]],
    ["limits.requestsPerPod", 0],
    ["limits.requestsPerPod", 1e300],
    ["limits.onceOnly", 1],
    ["limits.timeoutMs", -1],
    ["limits.timeoutMs", "5"],
    ["limits.maxBodyBytes", 0],
    ["debug", "true"],
    ["debug", undefined],
  ])("with %s = %j is refused naming the field", (path, value) => {
    const name = path.split(".").at(-1) ?? "";
    expect(() => checkSpecializeRequest(change(path, value))).toThrow(MalformedMessage);
    expect(() => checkSpecializeRequest(change(path, value))).toThrow(name);
  });

  it("has the fields that api/wire names", () => {
    expect(SpecializeRequest.parse(valid())).toEqual(checkSpecializeRequest(valid()));
    const { token, podUid, podName, namespace } = POD_ENV;
    expect([token, podUid, podName, namespace]).toEqual([
      settings.ENV_TOKEN,
      settings.ENV_POD_UID,
      settings.ENV_POD_NAME,
      settings.ENV_POD_NAMESPACE,
    ]);
  });
});

describe("specialisation over HTTP", () => {
  const CODE = Buffer.from("export default () => new Response('ok')");

  it.each<[string, (message: SpecializeRequest) => Uint8Array<ArrayBuffer>]>([
    ["no body", () => Buffer.alloc(0)],
    ["three bytes", () => Buffer.from([0, 0, 1])],
    ["a length beyond the body", () => Buffer.from([0xff, 0xff, 0xff, 0xff, 1])],
    ["no JSON", () => Buffer.from([0, 0, 0, 2, 123, 34])],
    ["JSON that is not UTF-8", () => Buffer.from([0, 0, 0, 2, 0xc3, 0x28])],
    ["another size", (message) => frame({ ...message, archive: { ...message.archive, sizeBytes: 3 } }, CODE)],
    ["a list", () => frame([], CODE)],
  ])("%s is malformed and changes nothing", async (_name, body) => {
    const pod = await startPod();
    const reply = await postSpecialize(pod, body(specializeRequest(pod, CODE)));
    expect([reply.status, (await json(reply)).reason]).toEqual([400, "bad_request"]);
    expect((await specialize(pod, CODE)).status).toBe(200);
    expect(await (await call(pod)).text()).toBe("ok");
  });

  it("needs the token, the right pod, and happens once", async () => {
    const pod = await startPod();
    const body = frame(specializeRequest(pod, CODE), CODE);
    for (const authorization of ["", "Bearer ", "Bearer x", `bearer ${pod.token}`, pod.token]) {
      expect((await postSpecialize(pod, body, { authorization })).status).toBe(401);
    }
    for (const path of ["/specialize", "/v2/specialize"]) {
      expect((await fetch(pod.address + path, { method: "POST", body: "{}" })).status).toBe(401);
    }
    expect((await specialize(pod, CODE, { podUid: "other" })).status).toBe(409);
    const replies = await Promise.all(Array.from({ length: 10 }, () => specialize(pod, CODE)));
    expect(replies.map((reply) => reply.status).toSorted((a, b) => a - b)).toEqual([
      200,
      ...Array(9).fill(409),
    ]);
    expect((await specialize(pod, "export default () => new Response('evil')")).status).toBe(409);
    expect(await (await call(pod)).text()).toBe("ok");
  });

  it.each([
    ["archive_digest", "export default 1", { archive: { sha256: "0".repeat(64), sizeBytes: 16 } }],
    ["archive_unsafe", zipOf([{ name: "../index.js", content: "x" }]), {}],
    ["entry_not_found", zipOf([{ name: "other.js", content: "x" }]), {}],
    ["entry_not_found", "export default () => 1", { functionName: "../x.y" }],
    ["handler_not_found", "export const a = 1", {}],
    ["handler_not_found", "export default () => 1", { functionName: ".missing" }],
    ["load_failed", "export default (", {}],
    ["load_failed", "import 'npm:left-pad'; export default () => 1", {}],
  ])("%s: the pod is spent", async (code, archive, overrides) => {
    const pod = await startPod();
    const reply = await specialize(pod, archive, overrides);
    expect([reply.status, (await json(reply)).code]).toEqual([422, code]);
    expect(await (await controlCall(pod, "GET /_isotope/status")).json()).toMatchObject({ state: "failed" });
    expect((await specialize(pod, CODE)).status).toBe(409);
  });

  it("leaves a log line of a module that does not load in the time of its caller", async () => {
    const pod = await startPod();
    const archive = Buffer.from("await new Promise(() => {}); export default () => new Response('x')");
    const calls = podCalls(new URL(pod.address).host, [pod.token]);
    const outcome = await calls.specialize(specializeRequest(pod, archive), archive, 2_000);
    calls.close();
    // The pod says so before its caller gives up, unless this machine is so busy that it comes too late.
    if (outcome.kind !== "timeout")
      expect(outcome).toMatchObject({ kind: "rejected", error: { code: "load_timeout" } });
    expect(await pod.line((line) => line.level === "error")).toMatchObject({
      function: "hello",
      msg: "Cannot load the function: its module was not ready after 1800 ms",
    });
  });

  it("gives up on a module that never finishes loading", async () => {
    const pod = await startPod();
    const archive = Buffer.from(
      "await new Promise(() => setInterval(() => {}, 1000)); export default () => 1",
    );
    const reply = await postSpecialize(pod, frame(specializeRequest(pod, archive), archive), {
      "x-isotope-timeout-ms": "100",
    });
    expect([reply.status, (await json(reply)).code]).toEqual([422, "load_timeout"]);
  });

  it("gives environment, secrets and config maps, assets and entry points", async () => {
    const secret = {
      namespace: "default",
      name: "db",
      data: { password: Buffer.from("s3cret").toString("base64") },
    };
    const config = {
      namespace: "default",
      name: "app",
      mountPath: "/etc/app",
      data: { "a.json": Buffer.from("{}").toString("base64") },
    };
    const source = `import process from "node:process";
      export const main = async (r, ctx) => Response.json([Deno.env.get("A"), process.env.A, ctx.secrets.db.password, ctx.configs.app["a.json"],
        await Deno.readTextFile(Deno.env.get("ISOTOPE_SECRETS_DIR") + "/db/password"), await Deno.readTextFile(new URL("../asset.txt", import.meta.url)), ctx.params.id])`;
    const archive = zipOf([
      { name: "lib/fn.js", content: source, deflate: true },
      { name: "asset.txt", content: "asset" },
    ]);
    const pod = await startFunction(archive, {
      functionName: "lib/fn.main",
      env: { A: "1" },
      secrets: [secret],
      configMaps: [config],
    });
    const reply = await call(pod, "/", { headers: { "x-fission-params-id": "7" } });
    expect(await reply.json()).toEqual(["1", "1", "s3cret", "{}", "s3cret", "asset", "7"]);
    expect(statSync(join(pod.root, "secrets/default/db/password")).mode & 0o777).toBe(0o400);
    expect(readFileSync(join(pod.root, "etc/app/a.json"), "utf8")).toBe("{}");
  });
});

describe("the source map of a large bundle", { timeout: 120_000 }, () => {
  const table = `const table = ${JSON.stringify(Array.from({ length: 4_000 }, (_, at) => at))};\n`;
  const code = `${table}export default async () => { try { JSON.parse("{"); } catch (error) { console.error(error.stack); } const map = new URL("./index.js.map", import.meta.url); return new Response((await Deno.readTextFile(map)).length + " of " + table.length); };\n//# sourceMappingURL=index.js.map\n`;
  // Every position of line 2 comes from line 7 of the source.
  const map = JSON.stringify({
    version: 3,
    sources: ["../functions/hello.ts"],
    names: [],
    mappings: ";AAMA",
    padding: "x".repeat(100_000),
  });
  const archive = (wrong: Part["central"] = {}): Uint8Array<ArrayBuffer> =>
    zipOf([
      { name: "index.js", content: code },
      { name: "index.js.map", content: map, deflate: true, local: wrong, central: wrong },
    ]);

  it("serves stacks at once and is a whole file soon after", async () => {
    const pod = await startPod();
    expect((await specialize(pod, archive())).status).toBe(200);
    expect(await (await call(pod)).text()).toMatch(/ of 4000$/);
    const line = await pod.line(({ msg }) => msg.includes("SyntaxError"));
    expect(line.msg).toContain("/functions/hello.ts:7");
    await expect
      .poll(async () => (await call(pod)).text(), { timeout: 30_000 })
      .toBe(`${map.length} of 4000`);
    expect(readFileSync(join(pod.root, "code/index.js.map"), "utf8")).toBe(map);
  });

  it("does not hinder the function when it is damaged, and the log says so", async () => {
    const pod = await startPod();
    expect((await specialize(pod, archive({ crc: 1 }))).status).toBe(200);
    expect((await call(pod)).status).toBe(200);
    expect((await pod.line(({ msg }) => msg.includes("SyntaxError"))).msg).toContain("/code/index.js:2");
    expect((await pod.line(({ level }) => level === "warn")).msg).toContain('Cannot unpack "index.js.map"');
  });
});

describe("the source map of a small bundle", { timeout: 120_000 }, () => {
  // Line 1 comes from line 7 of the source.
  const map = JSON.stringify({ version: 3, sources: ["../functions/hello.ts"], names: [], mappings: "AAMA" });
  const bundle = (code: string): Uint8Array<ArrayBuffer> =>
    zipOf([
      { name: "index.js", content: `${code}\n//# sourceMappingURL=index.js.map\n` },
      { name: "index.js.map", content: map },
    ]);

  it("tells a function that reads its stacks", async () => {
    const pod = await startPod();
    await specialize(pod, bundle("export default () => new Response(new Error('x').stack);"));
    expect(await (await call(pod)).text()).toContain("/functions/hello.ts:7");
  });

  it("tells the log of a function that reads none", async () => {
    const pod = await startPod();
    await specialize(pod, bundle("export default () => { throw new RangeError('none'); };"));
    expect((await call(pod)).status).toBe(500);
    expect((await pod.line(({ level }) => level === "error")).stack).toContain("/functions/hello.ts:7");
  });
});

describe("crc32", () => {
  it("is that of zlib wherever the bytes begin and end, also in pieces", () => {
    const bytes = Uint8Array.from({ length: 300 }, (_, at) => (at * 167) ^ (at >> 3));
    for (let from = 0; from < 9; from += 1) {
      for (let to = from; to < bytes.length; to += 7) {
        const part = bytes.subarray(from, to);
        const half = part.length >> 1;
        expect(ownCrc32(part)).toBe(crc32(part));
        expect(ownCrc32(part.subarray(half), ownCrc32(part.subarray(0, half)))).toBe(crc32(part));
      }
    }
  });
});
