import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { type ApiCore, internalWrite, toView } from "../api/api-core.ts";
import { createObject, storeReplacement } from "../api/write-object.ts";
import { isPlainObject, jsonEqual, type PlainObject, textOf } from "../schema/plain-object.ts";
import { objectKey } from "../store/object-table.ts";
import { CRD_STORAGE } from "./custom-definitions.ts";

const WRITER = internalWrite("localkube-crds");

/** All CRDs of the YAML and JSON files in a directory. Throws, with the file's name, on what is not YAML. */
export function readCrds(directory: string): PlainObject[] {
  return readdirSync(directory)
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .sort()
    .flatMap((name) => {
      const file = join(directory, name);
      return parseAllDocuments(readFileSync(file, "utf8")).flatMap((document) => {
        const [fault] = document.errors;
        if (fault) throw new Error(`Cannot read the CRDs in "${file}": ${fault.message}`);
        const value: unknown = document.toJS();
        return isPlainObject(value) && value.kind === "CustomResourceDefinition" ? [value] : [];
      });
    });
}

/** Creates a CRD, or brings its spec up to date. Throws 422 when it is not a valid one. */
export function installCrd(core: ApiCore, crd: PlainObject): void {
  const definition = core.registry.stored(CRD_STORAGE);
  const metadata = isPlainObject(crd.metadata) ? crd.metadata : {};
  const name = textOf(metadata.name ?? "");
  if (!definition) throw new Error("Cannot install a CRD: CustomResourceDefinition is not served");
  const stored = core.table.get(CRD_STORAGE, objectKey(undefined, name));
  if (!stored) {
    createObject(core, definition, undefined, crd, WRITER);
    return;
  }
  const next = { ...structuredClone(toView(definition, stored.object)) };
  const spec = isPlainObject(crd.spec) ? crd.spec : {};
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- read from YAML, so it is JSON
  next.spec = structuredClone(spec) as NonNullable<typeof next.spec>;
  if (jsonEqual(next.spec, stored.object.spec)) return;
  storeReplacement(core, { definition, namespace: undefined, name }, "main", next, WRITER);
}
