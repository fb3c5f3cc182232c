import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { SOURCE_DATE_EPOCH } from "./file-tree.ts";
import { hasCommand, runCommand } from "./run-command.ts";

export const ENGINES = ["buildah", "podman", "docker"] as const;
export type EngineName = (typeof ENGINES)[number];

export interface BuildInput {
  readonly context: string;
  readonly containerfile: string;
  /** Full name, with registry and tag. */
  readonly ref: string;
  readonly args: Readonly<Record<string, string>>;
}

/** A program that builds images from Containerfiles. */
export interface ContainerEngine {
  readonly name: EngineName;
  /** Builds and names an image; layers that did not change are taken from the engine's cache. */
  build(input: BuildInput): Promise<void>;
  /** Whether an image of this name is there. */
  has(ref: string): Promise<boolean>;
  /** Starts a command in an image on this machine's own network; ends with the returned function. Its output goes nowhere. */
  run(
    ref: string,
    command: readonly string[],
    env: Readonly<Record<string, string>>,
  ): Promise<RunningCommand>;
  /** Writes an image as an archive that `ctr images import`, `podman load` and `docker load` read. */
  exportArchive(ref: string, file: string): Promise<void>;
}

export interface RunningCommand {
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  /** Ends it and removes what it ran in. */
  stop(): Promise<void>;
}

/** The engine asked for, or the first that is installed. */
export async function findEngine(asked?: EngineName): Promise<ContainerEngine> {
  for (const name of asked ? [asked] : ENGINES) {
    if (!(await hasCommand(name))) continue;
    if (name === "docker" && !(await succeeds(runCommand("docker", ["info"])))) continue;
    return name === "docker" ? docker() : name === "podman" ? podman() : buildah();
  }
  throw new Error(
    asked
      ? `Cannot build images: "${asked}" does not run on this machine`
      : `Cannot build images: none of ${ENGINES.join(", ")} runs on this machine`,
  );
}

const buildArguments = (args: Readonly<Record<string, string>>): string[] =>
  Object.entries(args).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]);

/** Reproducible: the same context gives the same image. */
const ociBuild = ({ context, containerfile, ref, args }: BuildInput, own: readonly string[]): string[] => [
  "build",
  "--quiet",
  ...own,
  "--format=oci",
  "--layers",
  "--identity-label=false",
  `--timestamp=${SOURCE_DATE_EPOCH}`,
  ...buildArguments(args),
  "--file",
  containerfile,
  "--tag",
  ref,
  context,
];

const variables = (env: Readonly<Record<string, string>>): string[] =>
  Object.entries(env).flatMap(([name, value]) => ["--env", `${name}=${value}`]);

function ownNetwork(
  ref: string,
  [program = "", ...args]: readonly string[],
  env: Readonly<Record<string, string>>,
): string[] {
  const flags = ["--rm", "--init", "--network=host", "--read-only", "--tmpfs=/tmp:mode=1777"];
  return ["run", ...flags, ...variables(env), `--entrypoint=${program}`, ref, ...args];
}

function started(program: string, args: readonly string[], remove?: () => Promise<void>): RunningCommand {
  // A group of its own: the engine does not pass signals on in every case.
  const child = spawn(program, args, { stdio: "ignore", detached: true });
  const ended = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve());
  });
  return {
    ended,
    stop: async () => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGTERM");
      try {
        await ended;
      } finally {
        await remove?.();
      }
    },
  };
}

const succeeds = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  );

/** chroot isolation and overlay work without systemd and without user namespaces. */
const BUILDAH = ["--storage-driver", "overlay"];

function buildah(): ContainerEngine {
  return {
    name: "buildah",
    build: async (image) => {
      await runCommand("buildah", [...BUILDAH, ...ociBuild(image, ["--isolation=chroot", "--pull=never"])]);
    },
    has: (ref) => succeeds(runCommand("buildah", [...BUILDAH, "inspect", "--type=image", ref])),
    run: async (ref, command, env) => {
      const container = (await runCommand("buildah", [...BUILDAH, "from", "--pull=never", ref])).trim();
      const flags = ["run", "--isolation=chroot", ...variables(env), container, "--", ...command];
      const remove = async (): Promise<void> => {
        await runCommand("buildah", [...BUILDAH, "rm", container]);
      };
      return started("buildah", [...BUILDAH, ...flags], remove);
    },
    exportArchive: async (ref, file) => {
      rmSync(file, { force: true });
      await runCommand("buildah", [
        ...BUILDAH,
        "push",
        "--quiet",
        "--disable-compression",
        ref,
        `oci-archive:${file}:${ref}`,
      ]);
    },
  };
}

function podman(): ContainerEngine {
  return {
    name: "podman",
    build: async (image) => {
      await runCommand("podman", ociBuild(image, ["--pull=missing"]));
    },
    has: (ref) => succeeds(runCommand("podman", ["image", "exists", ref])),
    run: async (ref, command, env) => started("podman", ownNetwork(ref, command, env)),
    exportArchive: async (ref, file) => {
      rmSync(file, { force: true });
      await runCommand("podman", ["save", "--quiet", "--format=oci-archive", "--output", file, ref]);
    },
  };
}

function docker(): ContainerEngine {
  return {
    name: "docker",
    build: async ({ context, containerfile, ref, args }) => {
      await runCommand(
        "docker",
        [
          "build",
          "--quiet",
          "--provenance=false",
          ...buildArguments({ ...args, SOURCE_DATE_EPOCH: String(SOURCE_DATE_EPOCH) }),
          "--file",
          containerfile,
          "--tag",
          ref,
          context,
        ],
        { env: { DOCKER_BUILDKIT: "1" } },
      );
    },
    has: (ref) => succeeds(runCommand("docker", ["image", "inspect", ref])),
    run: async (ref, command, env) => started("docker", ownNetwork(ref, command, env)),
    exportArchive: async (ref, file) => {
      await runCommand("docker", ["save", "--output", file, ref]);
    },
  };
}
