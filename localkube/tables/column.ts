import type { Json, KubeObject } from "../store/kube-object.ts";

/** One column of `kubectl get`. */
export interface Column {
  name: string;
  type: "string" | "integer" | "number" | "boolean" | "date";
  format?: string;
  description?: string;
  /** 0 is always shown, 1 only with -o wide. */
  priority: number;
  /** The cell; dates as shown (`3m5s`). */
  cell(object: KubeObject, nowMs: number): Json;
}
