import type { IncomingMessage, ServerResponse } from "node:http";
import type { ApiCore, WriteOptions } from "../api/api-core.ts";
import { badRequest, invalidField, invalidObject } from "../api/api-error.ts";
import type { ResourceDefinition } from "../api/resource.ts";
import type { PodLogs } from "../logs/pod-logs.ts";
import type { DeleteOptions } from "../store/store.ts";
import { isPlainObject } from "../schema/plain-object.ts";

/** Who sent the request; there is one administrator. */
export interface User {
  username: string;
  groups: string[];
}

/** What the handlers share. */
export interface Service {
  core: ApiCore;
  logs: PodLogs | undefined;
  isToken(candidate: string): boolean;
  /** Aborts when the server stops, so that open watches and followed logs end. */
  stopping: AbortSignal;
  /** A watch without events gets a sign of life this often. */
  quietWatchMs: number;
  log(message: string): void;
}

/** One request on its way to its answer. */
export interface Exchange {
  service: Service;
  request: IncomingMessage;
  response: ServerResponse;
  path: string;
  query: URLSearchParams;
  user: User;
}

export interface ResourceRequest {
  definition: ResourceDefinition;
  namespace: string | undefined;
  name: string | undefined;
  subresource: string | undefined;
}

export const flag = (query: URLSearchParams, name: string): boolean => {
  const value = query.get(name);
  return value !== null && /^(1|t|true|)$/i.test(value);
};

/** A non-negative whole number in the query. Throws 400 on anything else. */
export function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null || value === "") return undefined;
  if (!/^-?\d{1,15}$/.test(value)) {
    throw badRequest(`strconv.ParseInt: parsing "${value}": invalid syntax for query parameter "${name}"`);
  }
  return Number(value);
}

const optionsKind = (kind: string) => ({ group: "meta.k8s.io", kind });

/** Reads dryRun, fieldValidation and fieldManager. Throws 422 on values that do not exist. */
export function writeOptions(exchange: Exchange, kind: string): WriteOptions {
  const { query, request } = exchange;
  for (const value of query.getAll("dryRun")) {
    if (value !== "All") {
      throw invalidObject(optionsKind(kind), "", [
        {
          reason: "FieldValueNotSupported",
          field: "dryRun",
          message: `Unsupported value: ${JSON.stringify(value)}: supported values: "All"`,
        },
      ]);
    }
  }
  const validation = query.get("fieldValidation") ?? "";
  if (validation !== "" && validation !== "Strict" && validation !== "Warn" && validation !== "Ignore") {
    throw invalidObject(optionsKind(kind), "", [
      {
        reason: "FieldValueNotSupported",
        field: "fieldValidation",
        message: `Unsupported value: ${JSON.stringify(validation)}: supported values: "Ignore", "Strict", "Warn"`,
      },
    ]);
  }
  const manager = query.get("fieldManager") ?? "";
  if (manager.length > 128) {
    throw invalidObject(optionsKind(kind), "", [
      invalidField("fieldManager", manager, "may not be more than 128 bytes"),
    ]);
  }
  return {
    dryRun: query.getAll("dryRun").includes("All"),
    fieldValidation: validation === "" ? "Warn" : validation,
    fieldManager: manager || ((request.headers["user-agent"] ?? "unknown").split("/")[0] ?? "unknown"),
    warnings: [],
  };
}

/** DeleteOptions of body and query together; `dryRun` says whether either asked for one. */
export function deleteOptions(exchange: Exchange, body: unknown): DeleteOptions & { dryRun: boolean } {
  const { query } = exchange;
  const given = isPlainObject(body) ? body : {};
  const policy = given.propagationPolicy ?? query.get("propagationPolicy") ?? undefined;
  if (policy !== undefined && policy !== "Background" && policy !== "Foreground" && policy !== "Orphan") {
    throw invalidObject(optionsKind("DeleteOptions"), "", [
      {
        reason: "FieldValueNotSupported",
        field: "propagationPolicy",
        message: `Unsupported value: ${JSON.stringify(policy)}: supported values: "Background", "Foreground", "Orphan"`,
      },
    ]);
  }
  const grace = given.gracePeriodSeconds ?? wholeNumber(query, "gracePeriodSeconds");
  const dryRun = Array.isArray(given.dryRun) ? given.dryRun : query.getAll("dryRun");
  const orphan =
    given.orphanDependents ?? (query.has("orphanDependents") ? flag(query, "orphanDependents") : undefined);
  const preconditions = isPlainObject(given.preconditions) ? given.preconditions : undefined;
  return {
    ...(typeof grace === "number" ? { gracePeriodSeconds: grace } : {}),
    ...(policy ? { propagationPolicy: policy } : orphan === true ? { propagationPolicy: "Orphan" } : {}),
    ...(preconditions ? { preconditions: preconditions } : {}),
    dryRun: dryRun.includes("All"),
  };
}
