import { binariesFolder } from "./binaries.ts";
import { up } from "./cluster.ts";
import { clusterLayout } from "./layout.ts";

/**
 * `node test/cluster/up.ts [--install]`: starts the test cluster, a real one-node Kubernetes. `--install` installs missing
 * Debian packages first. Does nothing when it runs already.
 */
async function main(): Promise<void> {
  const unknown = process.argv.slice(2).filter((word) => word !== "--install");
  if (unknown.length > 0)
    throw new Error(`Cannot start the test cluster: unknown argument "${unknown[0]}", allowed is --install`);
  const startedAt = performance.now();
  const install = process.argv.includes("--install") || process.env["CI"] === "true";
  const { cluster, wasUp } = await up({ install });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  process.stdout.write(
    `${wasUp ? "The test cluster was up already" : `The test cluster is up, after ${seconds} s`}\n` +
      `  export KUBECONFIG=${cluster.kubeconfig}\n  helm is in ${binariesFolder(clusterLayout().cache)}\n`,
  );
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
