import {
  duplicateField,
  type FieldError,
  invalidField,
  requiredField,
  unsupportedField,
} from "../api/api-error.ts";
import { isDnsLabel } from "../api/metadata-rules.ts";
import { isPlainObject, type PlainObject, plainObjects, textOf } from "../schema/plain-object.ts";
import { parseQuantity } from "../schema/quantity.ts";

const setDefault = (object: PlainObject, field: string, value: unknown): void => {
  if (object[field] === undefined) object[field] = value;
};

function defaultProbe(probe: unknown): void {
  if (!isPlainObject(probe)) return;
  setDefault(probe, "timeoutSeconds", 1);
  setDefault(probe, "periodSeconds", 10);
  setDefault(probe, "successThreshold", 1);
  setDefault(probe, "failureThreshold", 3);
  defaultHttpGet(probe.httpGet);
  if (isPlainObject(probe.grpc)) setDefault(probe.grpc, "service", "");
}

function defaultHttpGet(httpGet: unknown): void {
  if (!isPlainObject(httpGet)) return;
  setDefault(httpGet, "path", "/");
  setDefault(httpGet, "scheme", "HTTP");
}

/** `Always` for images that may change under their name. */
function pullPolicy(image: unknown): string {
  const name = textOf(image ?? "");
  if (name.includes("@")) return "IfNotPresent";
  const tag = /:([^:/]+)$/.exec(name)?.[1];
  return tag === undefined || tag === "latest" ? "Always" : "IfNotPresent";
}

function defaultContainer(container: PlainObject): void {
  setDefault(container, "imagePullPolicy", pullPolicy(container.image));
  setDefault(container, "terminationMessagePath", "/dev/termination-log");
  setDefault(container, "terminationMessagePolicy", "File");
  setDefault(container, "resources", {});
  const { resources } = container;
  if (isPlainObject(resources) && isPlainObject(resources.limits)) {
    resources.requests = {
      ...resources.limits,
      ...(isPlainObject(resources.requests) ? resources.requests : {}),
    };
  }
  for (const port of plainObjects(container.ports)) setDefault(port, "protocol", "TCP");
  for (const env of plainObjects(container.env)) {
    if (isPlainObject(env.valueFrom) && isPlainObject(env.valueFrom.fieldRef)) {
      setDefault(env.valueFrom.fieldRef, "apiVersion", "v1");
    }
  }
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) defaultProbe(container[probe]);
  if (isPlainObject(container.lifecycle)) {
    for (const hook of ["preStop", "postStart"]) {
      const handler = container.lifecycle[hook];
      if (isPlainObject(handler)) defaultHttpGet(handler.httpGet);
    }
  }
}

const FILE_MODE = 0o644;

function defaultVolume(volume: PlainObject): void {
  const sources = Object.keys(volume).filter((key) => key !== "name");
  if (sources.length === 0) volume.emptyDir = {};
  for (const source of ["secret", "configMap", "projected", "downwardAPI"]) {
    const value = volume[source];
    if (isPlainObject(value)) setDefault(value, "defaultMode", FILE_MODE);
  }
  if (isPlainObject(volume.hostPath)) setDefault(volume.hostPath, "type", "");
}

/** Fills in what a pod's spec leaves open, in place. */
export function defaultPodSpec(spec: PlainObject): void {
  setDefault(spec, "restartPolicy", "Always");
  setDefault(spec, "dnsPolicy", "ClusterFirst");
  setDefault(spec, "terminationGracePeriodSeconds", 30);
  setDefault(spec, "schedulerName", "default-scheduler");
  setDefault(spec, "securityContext", {});
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    for (const container of plainObjects(spec[list])) defaultContainer(container);
  }
  for (const volume of plainObjects(spec.volumes)) defaultVolume(volume);
}

function quantityFaults(resources: unknown, path: string): FieldError[] {
  if (!isPlainObject(resources)) return [];
  const errors: FieldError[] = [];
  for (const part of ["limits", "requests"]) {
    const amounts = resources[part];
    if (!isPlainObject(amounts)) continue;
    for (const [name, amount] of Object.entries(amounts)) {
      const value = parseQuantity(textOf(amount));
      const at = `${path}.${part}[${name}]`;
      if (value === undefined) {
        errors.push(
          invalidField(
            at,
            amount,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
          ),
        );
      } else if (value < 0) errors.push(invalidField(at, amount, "must be greater than or equal to 0"));
      else if (part === "requests" && isPlainObject(resources.limits)) {
        const limit = parseQuantity(textOf(resources.limits[name] ?? ""));
        if (limit !== undefined && value > limit) {
          errors.push(
            invalidField(
              at,
              amount,
              `must be less than or equal to ${name} limit of ${textOf(resources.limits[name])}`,
            ),
          );
        }
      }
    }
  }
  return errors;
}

const portInRange = (port: unknown): boolean =>
  typeof port === "number" && Number.isInteger(port) && port >= 1 && port <= 65535;

export const portFault = (path: string, port: unknown): FieldError[] =>
  portInRange(port) ? [] : [invalidField(path, port ?? 0, "must be between 1 and 65535, inclusive")];

function envFaults(container: PlainObject, path: string): FieldError[] {
  return plainObjects(container.env).flatMap((env, index) => {
    const at = `${path}.env[${index}]`;
    const errors: FieldError[] = [];
    if (!env.name) errors.push(requiredField(`${at}.name`));
    else if (textOf(env.name).includes("=")) {
      errors.push(
        invalidField(`${at}.name`, env.name, "a valid environment variable name must not contain '='"),
      );
    }
    if (isPlainObject(env.valueFrom)) {
      const sources = Object.keys(env.valueFrom).length;
      if (env.value)
        errors.push(invalidField(`${at}.valueFrom`, "", "may not be specified when `value` is not empty"));
      if (sources === 0)
        errors.push(
          invalidField(
            `${at}.valueFrom`,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
          ),
        );
      if (sources > 1)
        errors.push(
          invalidField(`${at}.valueFrom`, "", "may not have more than one field specified at a time"),
        );
    }
    return errors;
  });
}

function probeFaults(container: PlainObject, path: string): FieldError[] {
  return ["livenessProbe", "readinessProbe", "startupProbe"].flatMap((name) => {
    const probe = container[name];
    if (!isPlainObject(probe)) return [];
    const at = `${path}.${name}`;
    const errors: FieldError[] = [];
    const handlers = ["exec", "httpGet", "tcpSocket", "grpc"].filter(
      (handler) => probe[handler] !== undefined,
    );
    if (handlers.length === 0) errors.push(requiredField(at, "must specify a handler type"));
    if (handlers.length > 1) {
      errors.push({
        reason: "FieldValueForbidden",
        field: `${at}.${handlers[1]}`,
        message: "Forbidden: may not specify more than 1 handler type",
      });
    }
    for (const field of [
      "initialDelaySeconds",
      "timeoutSeconds",
      "periodSeconds",
      "successThreshold",
      "failureThreshold",
    ]) {
      const value = probe[field];
      if (typeof value === "number" && value < 0) {
        errors.push(invalidField(`${at}.${field}`, value, "must be greater than or equal to 0"));
      }
    }
    return errors;
  });
}

function mountFaults(container: PlainObject, path: string, volumes: Set<string>): FieldError[] {
  const errors: FieldError[] = [];
  const paths = new Set<string>();
  plainObjects(container.volumeMounts).forEach((mount, index) => {
    const at = `${path}.volumeMounts[${index}]`;
    if (!mount.name) errors.push(requiredField(`${at}.name`));
    else if (!volumes.has(textOf(mount.name))) {
      errors.push({
        reason: "FieldValueNotFound",
        field: `${at}.name`,
        message: `Not found: ${JSON.stringify(mount.name)}`,
      });
    }
    if (!mount.mountPath) errors.push(requiredField(`${at}.mountPath`));
    else if (paths.has(textOf(mount.mountPath))) {
      errors.push(invalidField(`${at}.mountPath`, mount.mountPath, "must be unique"));
    }
    paths.add(textOf(mount.mountPath));
  });
  return errors;
}

function containerFaults(container: PlainObject, path: string, volumes: Set<string>): FieldError[] {
  const errors: FieldError[] = [];
  if (!container.name) errors.push(requiredField(`${path}.name`));
  else if (!isDnsLabel(textOf(container.name))) {
    errors.push(
      invalidField(
        `${path}.name`,
        container.name,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
      ),
    );
  }
  if (!container.image) errors.push(requiredField(`${path}.image`));
  else if (textOf(container.image).trim() !== container.image) {
    errors.push(
      invalidField(`${path}.image`, container.image, "must not have leading or trailing whitespace"),
    );
  }
  if (!["Always", "IfNotPresent", "Never"].includes(textOf(container.imagePullPolicy))) {
    errors.push(
      unsupportedField(`${path}.imagePullPolicy`, container.imagePullPolicy, [
        "Always",
        "IfNotPresent",
        "Never",
      ]),
    );
  }
  const portNames = new Set<string>();
  plainObjects(container.ports).forEach((port, index) => {
    const at = `${path}.ports[${index}]`;
    if (port.containerPort === undefined) errors.push(requiredField(`${at}.containerPort`));
    else errors.push(...portFault(`${at}.containerPort`, port.containerPort));
    if (port.hostPort !== undefined) errors.push(...portFault(`${at}.hostPort`, port.hostPort));
    if (!["TCP", "UDP", "SCTP"].includes(textOf(port.protocol))) {
      errors.push(unsupportedField(`${at}.protocol`, port.protocol, ["SCTP", "TCP", "UDP"]));
    }
    if (port.name !== undefined && port.name !== "") {
      if (portNames.has(textOf(port.name))) errors.push(duplicateField(`${at}.name`, port.name));
      portNames.add(textOf(port.name));
    }
  });
  return [
    ...errors,
    ...envFaults(container, path),
    ...probeFaults(container, path),
    ...mountFaults(container, path, volumes),
    ...quantityFaults(container.resources, `${path}.resources`),
  ];
}

/** Checks a pod's spec at `path` (`spec` or `spec.template.spec`). */
export function podSpecFaults(spec: PlainObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const volumes = new Set<string>();
  plainObjects(spec.volumes).forEach((volume, index) => {
    const name = textOf(volume.name ?? "");
    const at = `${path}.volumes[${index}]`;
    if (name === "") errors.push(requiredField(`${at}.name`));
    else if (volumes.has(name)) errors.push(duplicateField(`${at}.name`, name));
    volumes.add(name);
    if (Object.keys(volume).length > 2) {
      errors.push({
        reason: "FieldValueForbidden",
        field: at,
        message: "Forbidden: may not specify more than 1 volume type",
      });
    }
  });
  const names = new Set<string>();
  if (plainObjects(spec.containers).length === 0) errors.push(requiredField(`${path}.containers`));
  for (const list of ["initContainers", "containers"]) {
    plainObjects(spec[list]).forEach((container, index) => {
      const at = `${path}.${list}[${index}]`;
      errors.push(...containerFaults(container, at, volumes));
      if (container.name && names.has(textOf(container.name)))
        errors.push(duplicateField(`${at}.name`, container.name));
      names.add(textOf(container.name));
    });
  }
  if (!["Always", "OnFailure", "Never"].includes(textOf(spec.restartPolicy))) {
    errors.push(
      unsupportedField(`${path}.restartPolicy`, spec.restartPolicy, ["Always", "OnFailure", "Never"]),
    );
  }
  for (const field of ["terminationGracePeriodSeconds", "activeDeadlineSeconds"]) {
    const value = spec[field];
    const least = field === "activeDeadlineSeconds" ? 1 : 0;
    if (typeof value === "number" && value < least) {
      errors.push(invalidField(`${path}.${field}`, value, `must be greater than or equal to ${least}`));
    }
  }
  return errors;
}
