import { describe, expect, it } from "vitest";
import { formatGraph } from "../format/format-graph.ts";
import type { GraphState } from "../definition/definition.ts";
import type { FormatSpec } from "../format/spec.ts";
import { marksOf } from "./graph-marks.ts";
import { mermaidOf } from "./mermaid.ts";
import { svgOf } from "./svg.ts";

const order: FormatSpec = {
  startAt: "charge",
  states: {
    charge: {
      type: "Task",
      function: { name: "charge-card" },
      next: "fan",
      catch: [{ errorType: "CardDeclined", next: "refused" }],
    },
    fan: {
      type: "Parallel",
      branches: [
        { startAt: "ship", states: { ship: { type: "Task", function: { name: "ship" }, end: true } } },
        {
          startAt: "pause",
          states: { pause: { type: "Wait", duration: "1h", next: "mail" }, mail: { type: "Succeed" } },
        },
      ],
      next: "each",
    },
    each: {
      type: "Map",
      itemsPath: "$.items",
      iterator: {
        startAt: "pack",
        states: { pack: { type: "Task", function: { name: "pack" }, end: true } },
      },
      next: "end",
    },
    end: {
      type: "Choice",
      choices: [{ variable: "$.ok", booleanEquals: true, next: "charge" }],
      default: "refused",
    },
    refused: { type: "Fail", error: "Refused" },
  },
};

describe("the graph of a workflow", () => {
  it("is a Mermaid state diagram with nested states, labels and ends", () => {
    expect(mermaidOf(formatGraph("order", order))).toBe(`stateDiagram-v2
  state "charge · charge-card" as charge
  state "fan" as fan {
    state "0" as fan_0 {
      state "ship" as fan_0_ship
      [*] --> fan_0_ship
      fan_0_ship --> [*]
    }
    --
    state "1" as fan_1 {
      state "pause · waits 1h" as fan_1_pause
      state "mail" as fan_1_mail
      [*] --> fan_1_pause
      fan_1_pause --> fan_1_mail : after
      fan_1_mail --> [*]
    }
  }
  state "refused · Refused" as refused
  state "each · for each of $.items" as each {
    state "pack" as each_pack
    [*] --> each_pack
    each_pack --> [*]
  }
  state "end" as end_
  [*] --> charge
  charge --> fan
  charge --> refused : error [CardDeclined]
  fan --> each
  each --> end_
  end_ --> charge : [$.ok]
  end_ --> refused : [otherwise]
  refused --> [*]
`);
  });

  it("is coloured by a run", () => {
    const marks = marksOf({ status: "running", states: ["fan.0.ship", "fan.1.pause"] }, [
      { type: "transition", state: "charge" },
      { type: "effect-completed", state: "charge" },
      { type: "transition", state: "fan.0.ship,fan.1.pause" },
    ]);
    const picture = mermaidOf(formatGraph("order", order), marks);
    expect(picture).toContain("class charge done");
    expect(picture).toContain("class fan_0_ship active");
    expect(picture).not.toContain("class refused");
    expect(svgOf(formatGraph("order", order), marks)).toMatch(
      /<g data-state="charge" class="done">[\s\S]*<g data-state="fan\.0\.ship" class="active">/,
    );
  });

  it("blames the state in which a run ended unhappily", () => {
    const lines = [
      { type: "transition", state: "charge" },
      { type: "transition", state: "each[3].pack" },
      { type: "effect-failed", state: "each[3].pack" },
      { type: "transition", state: "" },
    ];
    const marks = marksOf({ status: "failed", states: [] }, lines);
    expect([...marks]).toEqual([
      ["charge", "done"],
      ["each.pack", "failed"],
      ["each", "failed"],
    ]);
    expect(marksOf({ status: "succeeded", states: [] }, lines.slice(0, 1)).get("charge")).toBe("done");
  });

  it("finds a machine's states by the keys below it, and draws lines across groups between these", () => {
    const leaf = (id: string, key: string, transitions: GraphState["transitions"] = []): GraphState => ({
      id,
      key,
      type: "atomic",
      invokes: [],
      transitions,
      states: [],
    });
    const machine: GraphState = {
      id: "order",
      key: "order",
      type: "compound",
      initial: "pay",
      invokes: [],
      transitions: [{ event: "CANCEL", targets: ["order.off"] }],
      states: [
        {
          id: "order.pay",
          key: "pay",
          type: "compound",
          initial: "card",
          invokes: [],
          transitions: [],
          states: [
            leaf("order.pay.card", "card", [
              { event: "xstate.done.actor.0.order.pay.card", targets: ["custom"] },
              { event: "xstate.after.90000.order.pay.card", targets: ["order.off"] },
              { event: "RETRY", targets: ["order.pay.card"], guard: "mayRetry" },
              { event: "NOTE", targets: [] },
            ]),
            leaf("custom", "paid"),
          ],
        },
        { ...leaf("order.off", "off"), type: "final" },
      ],
    };
    expect(mermaidOf(machine, new Map([["pay.paid", "done"]]))).toBe(`stateDiagram-v2
  state "pay" as pay {
    state "card" as pay_card
    state "paid" as pay_paid
    [*] --> pay_card
    pay_card --> pay_paid
    pay_card --> pay_card : RETRY [mayRetry]
  }
  state "off" as off
  state "any state" as any_state
  [*] --> pay
  any_state --> off : CANCEL
  pay --> off : card#58; after 1m30s
  off --> [*]
  classDef active fill:#dbeafe,stroke:#2563eb,stroke-width:2px,color:#1e3a8a
  classDef done fill:#dcfce7,stroke:#16a34a,color:#14532d
  classDef failed fill:#fee2e2,stroke:#dc2626,stroke-width:2px,color:#7f1d1d
  class pay_paid done
`);
    expect(svgOf(machine)).toContain('data-state="pay.card"');
  });

  it("holds what is in a group inside the group's box, and keeps neighbours apart", () => {
    const rectangles = [
      ...svgOf(formatGraph("order", order)).matchAll(
        /<g data-state="([^"]+)"[^>]*>\n<rect class="state" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g,
      ),
    ].map(([, path = "", ...numbers]) => {
      const [x = 0, y = 0, width = 0, height = 0] = numbers.map(Number);
      return { path, left: x, top: y, right: x + width, bottom: y + height };
    });
    expect(rectangles.map(({ path }) => path)).toContain("fan.1.pause");
    for (const one of rectangles)
      for (const other of rectangles) {
        if (one === other) continue;
        const isInside =
          one.left >= other.left &&
          one.right <= other.right &&
          one.top >= other.top &&
          one.bottom <= other.bottom;
        const isApart =
          one.right <= other.left ||
          one.left >= other.right ||
          one.bottom <= other.top ||
          one.top >= other.bottom;
        const wanted = one.path.startsWith(`${other.path}.`)
          ? isInside
          : isApart || other.path.startsWith(`${one.path}.`);
        expect({ one, other, wanted }).toMatchObject({ wanted: true });
      }
  });

  it("is one well-formed SVG picture whatever the names", () => {
    const odd: FormatSpec = {
      startAt: "a",
      states: {
        a: { type: "Fail", error: '<script>alert("x")</script>', cause: "a & b" },
      },
    };
    const svg = svgOf(formatGraph('<b>"', odd));
    expect(svg).not.toMatch(/<script|<b>/);
    expect(svg.match(/<g /g)?.length).toBe(svg.match(/<\/g>/g)?.length);
    expect(svg).not.toContain("NaN");
    expect(mermaidOf(formatGraph("x", odd))).toContain("as a\n");
  });
});
