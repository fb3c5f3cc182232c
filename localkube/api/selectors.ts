import { textOf } from "../schema/plain-object.ts";
import { valueAt } from "../schema/object-path.ts";
import type { KubeObject } from "../store/kube-object.ts";
import { badRequest } from "./api-error.ts";

export type ObjectTest = (object: KubeObject) => boolean;

type Labels = Readonly<Record<string, string>>;
type LabelTest = (labels: Labels) => boolean;

const LABEL_KEY = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

/** Splits at commas outside parentheses. */
function terms(selector: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let index = 0; index < selector.length; index++) {
    const char = selector[index];
    if (char === "(") depth++;
    else if (char === ")") depth--;
    else if (char === "," && depth === 0) {
      parts.push(selector.slice(start, index));
      start = index + 1;
    }
  }
  parts.push(selector.slice(start));
  return parts.map((part) => part.trim()).filter((part) => part !== "");
}

function labelTerm(term: string): LabelTest {
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(term);
  if (set) {
    const key = checkedKey(set[1] ?? "", term);
    const values = new Set((set[3] ?? "").split(",").map((value) => checkedValue(value.trim(), term)));
    return set[2] === "in"
      ? (labels) => Object.hasOwn(labels, key) && values.has(labels[key] ?? "")
      : (labels) => !Object.hasOwn(labels, key) || !values.has(labels[key] ?? "");
  }
  const compared = /^([^=!<>\s]+)\s*(==|=|!=|>|<)\s*(\S*)$/.exec(term);
  if (compared) {
    const key = checkedKey(compared[1] ?? "", term);
    const value = checkedValue(compared[3] ?? "", term);
    if (compared[2] === "!=") return (labels) => labels[key] !== value;
    if (compared[2] === ">" || compared[2] === "<") {
      const sign = compared[2] === ">" ? 1 : -1;
      const limit = Number(value);
      if (!Number.isInteger(limit))
        throw unparsable(term, "for 'Gt', 'Lt' operators, the value must be an integer");
      return (labels) => Object.hasOwn(labels, key) && (Number(labels[key]) - limit) * sign > 0;
    }
    return (labels) => labels[key] === value;
  }
  const absent = /^!\s*(\S+)$/.exec(term);
  if (absent) {
    const key = checkedKey(absent[1] ?? "", term);
    return (labels) => !Object.hasOwn(labels, key);
  }
  const key = checkedKey(term, term);
  return (labels) => Object.hasOwn(labels, key);
}

const unparsable = (selector: string, why: string) =>
  badRequest(`unable to parse requirement: ${why} in "${selector}"`);

function checkedKey(key: string, term: string): string {
  if (!LABEL_KEY.test(key)) throw unparsable(term, `invalid label key "${key}"`);
  return key;
}

function checkedValue(value: string, term: string): string {
  if (!LABEL_VALUE.test(value)) throw unparsable(term, `invalid label value "${value}"`);
  return value;
}

/** Parses a `labelSelector` query parameter. Throws 400 on bad syntax. */
export function parseLabelSelector(selector: string): LabelTest | undefined {
  const tests = terms(selector).map(labelTerm);
  if (tests.length === 0) return undefined;
  return (labels) => tests.every((test) => test(labels));
}

interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

/** A selector object as query text: `a=b,c in (d,e)`. */
export function formatLabelSelector(selector: LabelSelector): string {
  const parts = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    if (operator === "In") parts.push(`${key} in (${(values ?? []).join(",")})`);
    else if (operator === "NotIn") parts.push(`${key} notin (${(values ?? []).join(",")})`);
    else if (operator === "Exists") parts.push(key);
    else if (operator === "DoesNotExist") parts.push(`!${key}`);
  }
  return parts.join(",");
}

/** Fields one may select by, beyond metadata.name and metadata.namespace, per storage. */
const SELECTABLE: Record<string, readonly string[]> = {
  pods: [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
    "spec.hostNetwork",
  ],
  events: [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "reportingController",
  ],
  secrets: ["type"],
  namespaces: ["status.phase"],
  nodes: ["spec.unschedulable"],
  services: ["spec.clusterIP", "spec.type"],
  "replicasets.apps": ["status.replicas"],
};

const ALIASES: Record<string, string> = {
  "regarding.kind": "involvedObject.kind",
  "regarding.namespace": "involvedObject.namespace",
  "regarding.name": "involvedObject.name",
  "regarding.uid": "involvedObject.uid",
  reportingController: "reportingComponent",
};

/** The value at a dotted path as a selector sees it: absent is "". */
export function fieldText(object: KubeObject, path: string): string {
  const value = valueAt(object, path === "source" ? "source.component" : path);
  if (value === undefined || value === null) {
    return path === "spec.unschedulable" || path === "spec.hostNetwork" ? "false" : "";
  }
  return textOf(value);
}

/** Parses a `fieldSelector` query parameter. Throws 400 for a field that the resource does not offer. */
export function parseFieldSelector(
  selector: string,
  storage: string,
  selectable: readonly string[] = [],
): ObjectTest | undefined {
  const tests = terms(selector).map((term): ObjectTest => {
    const match = /^([^=!\s]+)\s*(==|=|!=)\s*(.*)$/.exec(term);
    if (!match) throw badRequest(`invalid selector: '${selector}'; can't understand '${term}'`);
    const [, field = "", operator, value = ""] = match;
    const allowed =
      field === "metadata.name" ||
      field === "metadata.namespace" ||
      SELECTABLE[storage]?.includes(field) ||
      selectable.includes(field);
    if (!allowed) throw badRequest(`field label not supported: ${field}`);
    const path = ALIASES[field] ?? field;
    const wanted = value.replaceAll(/\\(.)/g, "$1");
    return operator === "!="
      ? (object) => fieldText(object, path) !== wanted
      : (object) => fieldText(object, path) === wanted;
  });
  if (tests.length === 0) return undefined;
  return (object) => tests.every((test) => test(object));
}

/** Both selectors as one test; undefined when everything is wanted. */
export function parseSelectors(
  storage: string,
  labelSelector: string | undefined,
  fieldSelector: string | undefined,
  selectable?: readonly string[],
): ObjectTest | undefined {
  const labels = labelSelector ? parseLabelSelector(labelSelector) : undefined;
  const fields = fieldSelector ? parseFieldSelector(fieldSelector, storage, selectable) : undefined;
  if (!labels && !fields) return undefined;
  return (object) => (!labels || labels(object.metadata.labels ?? {})) && (!fields || fields(object));
}
