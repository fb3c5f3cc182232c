import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import type { SignedCall } from "../../../net/signed-client.ts";
import { chooseTarget } from "./choose-target.ts";
import { normalizedEvent } from "./cloud-event.ts";
import { deliverer } from "./deliver.ts";
import type { TriggerEvent } from "./event.ts";
import { outcomeOf } from "./outcome.ts";
import { headerText, requestHeaders } from "./request-headers.ts";

const event = {
  id: "e1",
  namespace: "default",
  method: "POST",
  path: "/",
  headers: { "content-type": "text/plain" },
  body: Buffer.from("x"),
};
const target = { type: "name", name: "hello" } as const;
const said = (status: number, headers: Record<string, string> = {}, body = "") =>
  outcomeOf({ status, headers }, Buffer.from(body));
const refusal = (reason: string) => JSON.stringify({ component: "router", reason, message: "why" });
const BY_ROUTER = { "x-fission-component": "router" };

describe("what an answer comes to", () => {
  test.each([200, 201, 202, 204, 299])("%i is done", (status) => {
    expect(said(status).kind).toBe("done");
  });
  test.each([408, 429, 500, 502, 503, 504, 599])("%i of the function may go well later", (status) => {
    expect(said(status).kind).toBe("failed");
  });
  test.each([301, 400, 401, 404, 409, 422])("%i of the function changes nothing when repeated", (status) => {
    expect(said(status).kind).toBe("rejected");
  });

  test("what the platform had no room for did not run; what it knows nothing of never will", () => {
    expect(said(429, { ...BY_ROUTER, "retry-after": "2" }, refusal("queue_full"))).toMatchObject({
      kind: "overloaded",
      afterMs: 2_000,
    });
    expect(said(404, BY_ROUTER, refusal("function_not_found"))).toMatchObject({
      kind: "rejected",
      failure: { reason: "function_not_found" },
    });
    expect(said(504, BY_ROUTER, refusal("function_timeout")).kind).toBe("failed");
    // Said by a function, it is a function's word.
    expect(said(429, {}, refusal("queue_full")).kind).toBe("failed");
  });

  test("Retry-After counts in seconds and as a date; nonsense does not", () => {
    expect(said(503, { "retry-after": "7" })).toMatchObject({ afterMs: 7_000 });
    const date = new Date(Date.now() + 60_000).toUTCString();
    const outcome = said(503, { "retry-after": date });
    expect(outcome.kind === "failed" ? outcome.afterMs : 0).toBeGreaterThan(50_000);
    expect(said(503, { "retry-after": "soon" })).not.toHaveProperty("afterMs");
    expect(said(503, { "retry-after": "-1" })).not.toHaveProperty("afterMs");
  });

  test("long answers are cut in what is kept of them", () => {
    const outcome = said(500, {}, "x".repeat(10_000));
    expect(outcome.kind === "failed" ? outcome.failure.message.length : 0).toBe(1_024);
  });
});

describe("headers of a delivery", () => {
  test("say what repeats and what it is; nobody else says so", () => {
    const headers = requestHeaders(
      target,
      {
        ...event,
        headers: { "idempotency-key": "mine", "x-isotope-attempt": "9", host: "a", connection: "b" },
      },
      2,
    );
    expect(headers).toEqual({
      "idempotency-key": "default/hello/e1",
      "x-isotope-attempt": "2",
      "ce-specversion": "1.0",
      "ce-id": "e1",
      "ce-source": "/isotope/default/hello",
      "ce-type": "dev.isotope.event",
    });
  });
  test("keep an event's own attributes, and nothing that would break a header", () => {
    const headers = requestHeaders(
      target,
      { ...event, headers: { "ce-id": "own", "x-bad": "a\r\nx-injected: 1", "bad name": "x" } },
      1,
    );
    expect(headers["ce-id"]).toBe("own");
    expect(Object.keys(headers)).not.toContain("x-bad");
    expect(Object.keys(headers)).not.toContain("bad name");
  });
  test("carry any text", () => {
    expect(headerText("a b\r\n%ü")).toBe("a%20b%0D%0A%25%C3%BC");
    expect(decodeURIComponent(headerText("Grüße, 100 %"))).toBe("Grüße, 100 %");
  });
});

describe("calls of the router", () => {
  const odd: TriggerEvent = {
    ...event,
    method: "PROPFIND",
    path: "/a?b=c",
    headers: { "content-type": "text/plain", "x-isotope-first-answer": "9999" },
    body: Buffer.from("body"),
  };
  const sent = async (given: Partial<TriggerEvent>, anew?: boolean): Promise<SignedCall> => {
    const calls: SignedCall[] = [];
    const send = async (call: SignedCall) => {
      calls.push(call);
      return { status: 200, headers: {}, body: Readable.from([]) };
    };
    const deliver = deliverer({ router: { send }, workflows: { send } });
    const options = { attempt: 2, timeoutMs: 1_000, signal: new AbortController().signal };
    await deliver(
      { type: "name", name: "hello", version: "hello-v1" },
      { ...odd, ...given },
      {
        ...options,
        ...(anew === undefined ? {} : { anew }),
      },
    );
    const [call] = calls;
    if (!call) throw new Error("Nothing was sent");
    return call;
  };

  test("ask for the first answer that there was, unless the function is to run anew", async () => {
    const first = await sent({});
    expect(first).toMatchObject({
      method: "PROPFIND",
      target: "/fission-function/default/hello:hello-v1/a?b=c",
      headers: {
        "x-isotope-first-answer": "120",
        "idempotency-key": "default/hello/e1",
        "x-isotope-attempt": "2",
      },
    });
    expect(Buffer.from(first.body ?? "").toString()).toBe("body");
    expect((await sent({}, true)).headers?.["x-isotope-first-answer"]).toBeUndefined();
  });

  test.each([
    ["get", "GET"],
    ["CONNECT", "POST"],
    ["TRACE", "POST"],
    ["no method", "POST"],
  ])("of method %s are of %s", async (method, expected) => {
    expect((await sent({ method })).method).toBe(expected);
  });
});

test("where workflows are not installed, what starts runs fails and says why", async () => {
  const send = () => Promise.reject(new Error("Nothing is to be sent here"));
  const deliver = deliverer({ router: { send }, workflows: undefined });
  const options = { attempt: 1, timeoutMs: 1_000, signal: new AbortController().signal };
  expect(await deliver({ type: "workflow", name: "billing" }, event, options)).toEqual({
    kind: "failed",
    failure: {
      status: 0,
      reason: "workflows_unavailable",
      message: expect.stringMatching(/^Workflows are not installed\. .*workflows\.enabled/),
    },
  });
});

describe("splits", () => {
  test("give one event one function, and each its share", () => {
    const split = { type: "function-weights", name: "", functionweights: { a: 30, b: 70, c: 0 } } as const;
    const chosen = Array.from({ length: 2_000 }, (_, at) => chooseTarget(split, `event ${at}`).name);
    expect(Array.from({ length: 2_000 }, (_, at) => chooseTarget(split, `event ${at}`).name)).toEqual(chosen);
    const share = chosen.filter((name) => name === "a").length / chosen.length;
    expect(share).toBeGreaterThan(0.25);
    expect(share).toBeLessThan(0.35);
    expect(chosen).not.toContain("c");
    expect(() =>
      chooseTarget({ type: "function-weights", name: "", functionweights: { a: 0 } }, "e"),
    ).toThrow("No function of the split");
  });
});

describe("CloudEvents", () => {
  const structured = (value: unknown) =>
    normalizedEvent(
      { "content-type": "application/cloudevents+json; charset=utf-8", "x-mine": "1" },
      Buffer.from(JSON.stringify(value)),
    );
  const attributes = { specversion: "1.0", id: "1", source: "/s", type: "t" };

  test("in one piece come out in binary form", () => {
    const { headers, body, key } = structured({ ...attributes, data: { a: 1 }, subject: "ü", count: 3 });
    expect(headers).toEqual({
      "x-mine": "1",
      "content-type": "application/json",
      "ce-specversion": "1.0",
      "ce-id": "1",
      "ce-source": "/s",
      "ce-type": "t",
      "ce-subject": "%C3%BC",
      "ce-count": "3",
    });
    expect(Buffer.from(body).toString()).toBe('{"a":1}');
    expect(key).toBe("ce\n/s\n1");
  });
  test("carry bytes and text as they are", () => {
    expect(Buffer.from(structured({ ...attributes, data_base64: "aGk=" }).body).toString()).toBe("hi");
    const text = structured({ ...attributes, data: "<a/>", datacontenttype: "text/xml" });
    expect([Buffer.from(text.body).toString(), text.headers["content-type"]]).toEqual(["<a/>", "text/xml"]);
    expect(Buffer.from(structured({ ...attributes, data: "text" }).body).toString()).toBe('"text"');
  });
  test.each([{}, [], null, { ...attributes, specversion: "0.3" }, { ...attributes, id: "" }])(
    "%j is none, and stays what it was",
    (value) => {
      const { headers, body, key } = structured(value);
      expect(headers["content-type"]).toContain("cloudevents+json");
      expect(Buffer.from(body).toString()).toBe(JSON.stringify(value));
      expect(key).toBeUndefined();
    },
  );
  test("in binary form are known by source and id", () => {
    const headers = { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t" };
    expect(normalizedEvent(headers, Buffer.alloc(0)).key).toBe("ce\n/s\n1");
    expect(normalizedEvent({ "ce-id": "1" }, Buffer.alloc(0)).key).toBeUndefined();
  });
});
