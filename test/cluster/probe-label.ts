/** Pods that a test puts beside the platform's own, with the labels of a part of it: other tests, which run at the same time, pass them over. */
export const LABEL_PROBE = "network-policy.test/probe";
