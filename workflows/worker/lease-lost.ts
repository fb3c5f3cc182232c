/** Somebody else has the run. */
export class LeaseLost extends Error {}
