// Moves what the write-ahead log holds into the database file, beside the thread that writes. Plain JavaScript: a thread would load the
// type stripper of its own.
import { DatabaseSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";

const db = new DatabaseSync(workerData.file);
db.exec("PRAGMA synchronous = FULL; PRAGMA cache_size = -500");
const checkpoint = db.prepare("PRAGMA wal_checkpoint(PASSIVE)");
parentPort.on("message", () => {
  checkpoint.get();
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort.postMessage("done");
});
