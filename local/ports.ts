/** The platform's addresses on one machine; all ports move together. */
export interface Ports {
  router: number;
  routerInternal: number;
  ops: number;
  kubernetes: number;
  executor: number;
  redis: number;
  routerMetrics: number;
  controlPlaneMetrics: number;
  workflows: number;
  triggers: number;
}

export const DEFAULT_PORT_BASE = 8888;

/** @param base First port, 1024..65527. */
export const portsFrom = (base: number): Ports => ({
  router: base,
  routerInternal: base + 1,
  ops: base + 2,
  kubernetes: base + 3,
  executor: base + 4,
  redis: base + 5,
  routerMetrics: base + 6,
  controlPlaneMetrics: base + 7,
  workflows: base + 8,
  triggers: base + 9,
});
