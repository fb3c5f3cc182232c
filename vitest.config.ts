import { defineConfig } from "vitest/config";

const EXCLUDED = ["**/node_modules/**", "dist/**", "env-images/deno/**", "**/.isotope/**"];
/** End-to-end tests that run on an installed platform too. */
const ON_CLUSTER = [
  "functions",
  "examples",
  "foreign-images",
  "logs",
  "cli",
  "releases",
  "workflows",
  "typescript-workflows",
  "workflow-cli",
  "async",
  "async-destinations",
  "queues",
  "timers-and-watches",
].map((name) => `test/e2e/${name}.test.ts`);

/** Tests whose other side is built by Go, which the cluster needs as well; without it they are skipped. */
const BUILT_BY_GO = ["payload-store", "s3-archive-store", "storage-process"].map(
  (name) => `test/storage/${name}.test.ts`,
);

/** Without a cluster: everything that this machine runs by itself. */
const platform = {
  extends: true as const,
  test: { name: "platform", include: ["**/*.test.ts"], exclude: [...EXCLUDED, "test/cluster/**"] },
};

/** On a real Kubernetes, which is brought up once for all: `npm test -- --cluster`. */
const cluster = (name: string, include: string[], exclude: string[], alone: boolean) => ({
  extends: true as const,
  test: {
    name,
    include,
    exclude: [...EXCLUDED, ...exclude],
    globalSetup: "test/cluster/global-setup.ts",
    fileParallelism: !alone,
    sequence: { groupOrder: alone ? 2 : 1 },
    testTimeout: 240_000,
    hookTimeout: 300_000,
  },
});

/** Tests that stop parts of the cluster or of the shared platform: one after the other, once all others are done. */
const ALONE = ["test/cluster/**/*.alone.test.ts", "test/e2e/*.alone.test.ts"];
/** Tests with a proxy in front, which takes minutes to build: `npm test -- --cluster --traefik`. */
const TRAEFIK = "test/cluster/**/*.traefik.test.ts";

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    // A limit is for what hangs: a busy machine must not reach it.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 30_000 } },
    projects:
      process.env["ISOTOPE_CLUSTER_TESTS"] === "true"
        ? [
            cluster(
              "cluster",
              ["test/cluster/**/*.test.ts", ...ON_CLUSTER, ...BUILT_BY_GO],
              [...ALONE, TRAEFIK],
              false,
            ),
            cluster("cluster-alone", ALONE, [], true),
          ]
        : process.env["ISOTOPE_CLUSTER_TESTS"] === "traefik"
          ? [cluster("cluster-traefik", [TRAEFIK], [], true)]
          : [platform],
  },
});
