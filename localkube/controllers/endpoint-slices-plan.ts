import { createHash } from "node:crypto";
import { isTerminal, type Pod } from "../kubelet/pod.ts";
import { HOST_PORT_ANNOTATION } from "../kubelet/pod-status-writer.ts";
import type { ObjectMeta } from "../store/kube-object.ts";
import { isReady } from "./replica-set-plan.ts";

const MAX_ENDPOINTS = 100;

interface ServicePort {
  name?: string;
  port: number;
  protocol?: string;
  targetPort?: number | string;
  appProtocol?: string;
}

export interface Service {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  spec: {
    type?: string;
    selector?: Record<string, string>;
    ports?: ServicePort[];
    publishNotReadyAddresses?: boolean;
  };
}

interface EndpointPort {
  name: string;
  port: number;
  protocol: string;
  appProtocol?: string;
}

interface Endpoint {
  addresses: string[];
  conditions: { ready: boolean; serving: boolean; terminating: boolean };
  nodeName?: string;
  targetRef: { kind: "Pod"; namespace: string; name: string; uid: string };
}

/** What an EndpointSlice is to hold; `suffix` makes its name. */
export interface PlannedSlice {
  suffix: string;
  ports: EndpointPort[];
  endpoints: Endpoint[];
}

function namedPort(pod: Pod, name: string, protocol: string): number | undefined {
  const ports = pod.spec.containers.flatMap((container) => container.ports ?? []);
  return ports.find((port) => port.name === name && (port.protocol ?? "TCP") === protocol)?.containerPort;
}

function resolvePorts(service: Service, pod: Pod): EndpointPort[] {
  const hostPort = pod.metadata.annotations?.[HOST_PORT_ANNOTATION];
  return (service.spec.ports ?? []).flatMap(
    ({ name = "", port, protocol = "TCP", targetPort, appProtocol }) => {
      const target =
        typeof targetPort === "string" ? namedPort(pod, targetPort, protocol) : (targetPort ?? port);
      if (target === undefined) return [];
      const real = hostPort === undefined ? target : Number(hostPort);
      return [{ name, port: real, protocol, ...(appProtocol === undefined ? {} : { appProtocol }) }];
    },
  );
}

function toEndpoint(service: Service, pod: Pod, address: string): Endpoint {
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const serving = isReady(pod);
  const ready = service.spec.publishNotReadyAddresses === true || (serving && !terminating);
  const { namespace = "default", name, uid } = pod.metadata;
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...(pod.spec.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: { kind: "Pod", namespace, name, uid },
  };
}

/** The slices of a Service: pods with the same real ports share one, up to a hundred pods. Pure. */
export function planSlices(service: Service, pods: readonly Pod[]): PlannedSlice[] {
  const groups = new Map<string, { ports: EndpointPort[]; endpoints: Endpoint[] }>();
  for (const pod of pods) {
    const address = pod.status?.podIP;
    if (address === undefined || address === "" || isTerminal(pod)) continue;
    const ports = resolvePorts(service, pod);
    const key = JSON.stringify(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    group.endpoints.push(toEndpoint(service, pod, address));
    groups.set(key, group);
  }
  return [...groups].flatMap(([key, { ports, endpoints }]) => {
    const hash = createHash("sha256").update(key).digest("hex").slice(0, 5);
    const slices: PlannedSlice[] = [];
    for (let start = 0; start < endpoints.length; start += MAX_ENDPOINTS) {
      const suffix = start === 0 ? hash : `${hash}-${start / MAX_ENDPOINTS}`;
      slices.push({ suffix, ports, endpoints: endpoints.slice(start, start + MAX_ENDPOINTS) });
    }
    return slices;
  });
}
