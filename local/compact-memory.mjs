// Loaded before a process's own code: some time after its start it gives back what starting left behind, which V8 would keep for as long as its heap does not grow.
const AFTER_MS = 10_000;
const compact = () => void globalThis.gc?.({ type: "major", execution: "async", flavor: "last-resort" });
setTimeout(compact, AFTER_MS).unref();
