import { POD_ENV } from "../../../api/wire/pod.ts";

/**
 * JSON of an object as its watch tells of it. The tokens by which the platform commands its pods stand in the specifications of pods and of what makes them;
 * they are left out: a function has no use for them, and what is told is kept, as a dead letter for weeks.
 */
export const objectText = (object: object): string =>
  JSON.stringify(object, (_key, value: unknown) => (isPodToken(value) ? { name: POD_ENV.token } : value));

const isPodToken = (value: unknown): boolean =>
  typeof value === "object" && value !== null && "name" in value && value.name === POD_ENV.token;
