import type { Json } from "../store/kube-object.ts";
import { age } from "./age.ts";
import type { Column } from "./column.ts";
import { ageColumn, nameColumn } from "./core-columns.ts";
import { compileJsonPath } from "./json-path.ts";

export interface PrinterColumn {
  name: string;
  type: string;
  jsonPath: string;
  description?: string;
  format?: string;
  priority?: number;
}

const TYPES = ["string", "integer", "number", "boolean", "date"] as const;

/** The columns of a CRD version: the name, then what `additionalPrinterColumns` says, or the age. */
export function customColumns(printed: readonly PrinterColumn[] | undefined): Column[] {
  if (!printed || printed.length === 0) return [nameColumn, ageColumn];
  return [nameColumn, ...printed.map(toColumn)];
}

function toColumn(printed: PrinterColumn): Column {
  const read = compileJsonPath(printed.jsonPath);
  const type = TYPES.find((known) => known === printed.type) ?? "string";
  return {
    name: printed.name,
    type,
    priority: printed.priority ?? 0,
    ...(printed.format ? { format: printed.format } : {}),
    ...(printed.description ? { description: printed.description } : {}),
    cell: (object, nowMs) => cellOf(read(object), type, nowMs),
  };
}

function cellOf(values: unknown[], type: Column["type"], nowMs: number): Json {
  const value = values[0];
  if (value === undefined || value === null) return null;
  if (type === "date") return age(value, nowMs);
  if (type === "integer" || type === "number") return typeof value === "number" ? value : null;
  if (type === "boolean") return typeof value === "boolean" ? value : null;
  if (values.length > 1)
    return values.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join(",");
  return typeof value === "string" ? value : JSON.stringify(value);
}
