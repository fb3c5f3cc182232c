import { down } from "./cluster.ts";

/** `node test/cluster/down.ts`: stops the test cluster and removes it, whatever state it is in. */
down().then(
  () => process.stdout.write("The test cluster is down\n"),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  },
);
