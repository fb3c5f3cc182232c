/**
 * What packages ask of the system while they load (a logger its host name, a pool the number of processors), answered without telling of the system: the permission
 * stays denied. What node:os says comes from `Deno`, so its named imports answer too, save those of `cpus` and `homedir`.
 */
import os from "node:os";

const NO_LOAD = [0, 0, 0];
const NO_TIMES = { user: 0, nice: 0, sys: 0, idle: 0, irq: 0 };

function answer(owner: object, name: string, value: () => unknown): void {
  Object.defineProperty(owner, name, { value, writable: true, configurable: true, enumerable: true });
}

/** @param podName The host's name, as on a cluster. @param home The function's own folder. */
export function answerSystemFacts(podName: string, home: string): void {
  answer(Deno, "hostname", () => podName);
  answer(Deno, "loadavg", () => [...NO_LOAD]);
  answer(Deno, "osRelease", () => "");
  answer(os, "homedir", () => home);
  answer(os, "cpus", () =>
    Array.from({ length: navigator.hardwareConcurrency }, () => ({
      model: "",
      speed: 0,
      times: { ...NO_TIMES },
    })),
  );
}
