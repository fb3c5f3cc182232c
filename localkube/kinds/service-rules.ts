import { createHash } from "node:crypto";
import { isIP } from "node:net";
import {
  duplicateField,
  type FieldError,
  invalidField,
  requiredField,
  unsupportedField,
} from "../api/api-error.ts";
import type { KindRules } from "../api/resource.ts";
import { type PlainObject, plainObjects, textOf } from "../schema/plain-object.ts";
import type { Json, JsonObject, KubeObject } from "../store/kube-object.ts";
import { portFault } from "./pod-template.ts";

const ports = (spec: PlainObject | undefined): PlainObject[] => plainObjects(spec?.ports);

const SERVICE_TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/** An address that stays the same for a Service; nothing answers there, EndpointSlices say who does. */
function clusterAddress(object: KubeObject): string {
  const hash = createHash("sha256").update(object.metadata.uid).digest();
  return `10.96.${hash[0]}.${1 + ((hash[1] ?? 0) % 254)}`;
}

function serviceDefaults(object: KubeObject): void {
  const spec: JsonObject = (object.spec ??= {});
  spec.type ??= "ClusterIP";
  spec.sessionAffinity ??= "None";
  object.status ??= { loadBalancer: {} };
  for (const port of ports(spec)) {
    port.protocol ??= "TCP";
    port.targetPort ??= port.port;
  }
  if (spec.type === "ExternalName") return;
  spec.internalTrafficPolicy ??= "Cluster";
  spec.ipFamilyPolicy ??= "SingleStack";
  spec.ipFamilies ??= ["IPv4"];
  if (spec.type !== "ClusterIP") spec.externalTrafficPolicy ??= "Cluster";
}

function serviceFaults(object: KubeObject): FieldError[] {
  const spec = object.spec ?? {};
  const errors: FieldError[] = [];
  if (!SERVICE_TYPES.includes(textOf(spec.type))) {
    errors.push(unsupportedField("spec.type", spec.type, SERVICE_TYPES));
  }
  if (spec.type === "ExternalName") {
    return spec.externalName ? errors : [...errors, requiredField("spec.externalName")];
  }
  if (ports(spec).length === 0 && spec.clusterIP !== "None") errors.push(requiredField("spec.ports"));
  const names = new Set<Json>();
  const seen = new Set<string>();
  ports(spec).forEach((port, index) => {
    const path = `spec.ports[${index}]`;
    errors.push(...portFault(`${path}.port`, port.port));
    if (typeof port.targetPort === "number") errors.push(...portFault(`${path}.targetPort`, port.targetPort));
    const name = typeof port.name === "string" ? port.name : "";
    if (ports(spec).length > 1 && name === "") errors.push(requiredField(`${path}.name`));
    else if (name !== "" && names.has(name)) errors.push(duplicateField(`${path}.name`, name));
    names.add(name);
    const id = `${textOf(port.protocol)}/${textOf(port.port)}`;
    if (seen.has(id)) errors.push(duplicateField(path, { port: port.port, protocol: port.protocol }));
    seen.add(id);
    if (!["TCP", "UDP", "SCTP"].includes(textOf(port.protocol))) {
      errors.push(unsupportedField(`${path}.protocol`, port.protocol, ["SCTP", "TCP", "UDP"]));
    }
  });
  return errors;
}

export const serviceRules: KindRules = {
  defaults: serviceDefaults,
  onCreate(object) {
    const spec = object.spec ?? {};
    if (spec.type === "ExternalName") return;
    if (!spec.clusterIP) spec.clusterIP = clusterAddress(object);
    spec.clusterIPs ??= [spec.clusterIP];
    object.status = { loadBalancer: {} };
  },
  onUpdate(object, old) {
    const spec = object.spec ?? {};
    if (spec.type !== "ExternalName" && !spec.clusterIP && old.spec?.clusterIP) {
      spec.clusterIP = old.spec.clusterIP;
      spec.clusterIPs ??= old.spec.clusterIPs ?? [old.spec.clusterIP];
    }
  },
  validate: serviceFaults,
  validateUpdate(object, old) {
    const [now, before] = [object.spec?.clusterIP, old.spec?.clusterIP];
    if (!before || now === before || object.spec?.type === "ExternalName") return [];
    return [invalidField("spec.clusterIP", now ?? "", "field is immutable")];
  },
};

const ADDRESS_TYPES = ["IPv4", "IPv6", "FQDN"];

export const endpointSliceRules: KindRules = {
  defaults(object) {
    if (object.endpoints === undefined) object.endpoints = [];
    const list = plainObjects(object.ports);
    for (const port of list) {
      port.name ??= "";
      port.protocol ??= "TCP";
    }
  },
  validate(object) {
    const errors: FieldError[] = [];
    if (!object.addressType) errors.push(requiredField("addressType"));
    else if (!ADDRESS_TYPES.includes(textOf(object.addressType))) {
      errors.push(unsupportedField("addressType", object.addressType, ADDRESS_TYPES));
    }
    const endpoints = plainObjects(object.endpoints);
    endpoints.forEach((endpoint, index) => {
      const addresses = Array.isArray(endpoint.addresses) ? endpoint.addresses : [];
      const path = `endpoints[${index}].addresses`;
      if (addresses.length === 0) errors.push(requiredField(path, "must contain at least 1 address"));
      addresses.forEach((address: unknown, at) => {
        const family = isIP(textOf(address));
        if (object.addressType === "IPv4" && family !== 4) {
          errors.push(invalidField(`${path}[${at}]`, address, "must be an IPv4 address"));
        }
        if (object.addressType === "IPv6" && family !== 6) {
          errors.push(invalidField(`${path}[${at}]`, address, "must be an IPv6 address"));
        }
      });
    });
    const list = plainObjects(object.ports);
    list.forEach((port, index) => {
      if (port.port !== undefined) errors.push(...portFault(`ports[${index}].port`, port.port));
    });
    return errors;
  },
  validateUpdate(object, old) {
    if (object.addressType === old.addressType) return [];
    return [invalidField("addressType", object.addressType, "field is immutable")];
  },
};
