import { stringify } from "yaml";
import type { InvocationView } from "../api/wire/invocations.ts";
import type { CliContext } from "./context.ts";
import { age, shortText, table } from "./output.ts";

/** Prints a list in the format asked for. */
export function printInvocations(
  context: CliContext,
  items: readonly InvocationView[],
  { output, none, withNamespace }: { output: string | undefined; none: string; withNamespace: boolean },
): void {
  if (printStructured(context, output, items)) return;
  if (output === "name") {
    for (const { id } of items) context.out(`invocations/${id}\n`);
    return;
  }
  if (items.length === 0) return context.note(none);
  const wide = output === "wide";
  context.out(
    table(
      [
        ...(withNamespace ? ["NAMESPACE"] : []),
        "ID",
        "TARGET",
        "STATUS",
        "TRIES",
        "AGE",
        "LAST ERROR",
        ...(wide ? ["SOURCE", "BYTES", "DESTINATION"] : []),
      ],
      items.map((item) => [
        ...(withNamespace ? [item.namespace] : []),
        item.id,
        targetText(item),
        item.status,
        String(item.tries),
        age(item.acceptedAt),
        errorText(item),
        ...(wide ? [item.source, String(item.payloadBytes), item.destination?.to ?? ""] : []),
      ]),
    ),
  );
}

/** @returns whether the format asked for was one for machines */
export function printStructured(context: CliContext, output: string | undefined, value: unknown): boolean {
  if (output === "json") context.out(`${JSON.stringify(value, null, 2)}\n`);
  else if (output === "yaml") context.out(stringify(value, { lineWidth: 0 }));
  else return false;
  return true;
}

const targetText = ({ target }: InvocationView): string => {
  const qualifier = target.version ?? target.alias;
  const name = qualifier === undefined ? target.name : `${target.name}:${qualifier}`;
  return target.kind === "workflow" ? `workflow/${name}` : name;
};

const LINE = 80;
function errorText({ lastError, status }: InvocationView): string {
  if (!lastError || status === "succeeded") return "";
  return shortText(
    `${lastError.status === 0 ? lastError.reason : lastError.status} ${lastError.message}`,
    LINE,
  );
}

/** All there is to say about one. */
export function invocationText(item: InvocationView): string {
  const lines: [string, string | number | undefined][] = [
    ["Id", item.id],
    ["Namespace", item.namespace],
    ["Target", `${item.target.kind} ${targetText(item)}`],
    ["Status", item.status],
    ["Source", item.source],
    ["Request", `${item.method} ${item.path}, ${item.payloadBytes} bytes`],
    ["Accepted", item.acceptedAt],
    ["Due", item.dueAt],
    ["Started", item.startedAt],
    ["Ended", item.endedAt],
    ["Tries", `${item.tries} (${item.failures} of ${item.maxAttempts} attempts failed)`],
    ["Workers lost", item.lost || undefined],
    ["Redriven", item.redrives || undefined],
    [
      "Last error",
      item.lastError && `${item.lastError.status} ${item.lastError.reason}: ${item.lastError.message}`,
    ],
    [
      "Destination",
      item.destination &&
        [item.destination.to, item.destination.error ?? item.destination.invocationId]
          .filter(Boolean)
          .join(" "),
    ],
    ["Result", resultText(item)],
  ];
  const shown = lines.filter(([, value]) => value !== undefined);
  const text = shown.map(([name, value]) => `${`${name}:`.padEnd(14)}${value}\n`).join("");
  const headers = Object.entries(item.request?.headers ?? {}).map(([name, value]) => `  ${name}: ${value}\n`);
  return [
    text,
    item.request
      ? `\nRequest headers:\n${headers.join("")}\nRequest body:\n${bodyText(item.request.body)}\n`
      : "",
    item.result?.body ? `\nResult body:\n${bodyText(item.result.body)}\n` : "",
  ].join("");
}

/** A large one is not shown; where it can be had, or why not, is. */
function resultText({ id, result }: InvocationView): string | undefined {
  if (!result) return undefined;
  const { status, bytes, body, lost } = result;
  const text = `${status}, ${bytes} bytes`;
  if (lost !== undefined) return `${text}, not kept: ${lost}`;
  return body === undefined ? `${text}: isotope invocation result ${id} -o FILE` : text;
}

const bodyText = ({ text, base64 }: { text?: string | undefined; base64?: string | undefined }): string =>
  text ?? (base64 === undefined ? "" : `${base64} (base64)`);
