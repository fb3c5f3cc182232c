import type { Environment, Function as FunctionObject, HTTPTrigger, Package } from "../../api/kinds/index.ts";

const meta = (name: string, namespace = "default") => ({ name, namespace });

export function environment(name: string, spec: Partial<Environment["spec"]> = {}): Environment {
  return {
    apiVersion: "fission.io/v1",
    kind: "Environment",
    metadata: meta(name),
    spec: {
      version: 3,
      runtime: { image: "isotope/deno-env:1" },
      builder: { image: "isotope/deno-builder:1" },
      ...spec,
    },
  };
}

export function literalPackage(
  name: string,
  text: string,
  part: "source" | "deployment" = "deployment",
): Package {
  return {
    apiVersion: "fission.io/v1",
    kind: "Package",
    metadata: meta(name),
    spec: {
      environment: { namespace: "default", name: "deno" },
      [part]: { type: "literal", literal: Buffer.from(text).toString("base64") },
    },
  };
}

export function fn(name: string, spec: Partial<FunctionObject["spec"]> = {}): FunctionObject {
  return {
    apiVersion: "fission.io/v1",
    kind: "Function",
    metadata: meta(name),
    spec: {
      environment: { namespace: "default", name: "deno" },
      package: { packageref: { namespace: "default", name: "pkg" }, functionName: "" },
      InvokeStrategy: { StrategyType: "execution", ExecutionStrategy: { ExecutorType: "poolmgr" } },
      ...spec,
    },
  };
}

export function trigger(name: string, path: string, spec: Partial<HTTPTrigger["spec"]> = {}): HTTPTrigger {
  return {
    apiVersion: "fission.io/v1",
    kind: "HTTPTrigger",
    metadata: meta(name),
    spec: { relativeurl: path, methods: ["GET"], functionref: { type: "name", name: "hello" }, ...spec },
  };
}
