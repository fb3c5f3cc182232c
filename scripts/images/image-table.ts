import { join } from "node:path";

export type ImageName = "isotope" | "deno-env" | "fetcher" | "builder";

/** An image of the platform. Its Containerfile is `env-images/<folder>/Containerfile`; what it copies is staged by `scripts/images/stage-*.ts`. */
export interface ImagePlan {
  readonly name: ImageName;
  /** Debian packages of its base. */
  readonly packages: readonly string[];
}

export const ROOT = join(import.meta.dirname, "..", "..");
export const REPOSITORY_PREFIX = "isotope/";
/** The user of all images, as uid and gid. */
export const IMAGE_USER = 10001;

/** What the binaries of Node and Deno are linked with, and the certificates of the public authorities. */
const RUNTIME_PACKAGES = [
  "base-files",
  "ca-certificates",
  "libatomic1",
  "libc6",
  "libgcc-s1",
  "libstdc++6",
] as const;
/** npm asks for a shell and `env`. */
const SHELL_PACKAGES = [
  "coreutils",
  "dash",
  "libacl1",
  "libattr1",
  "libgmp10",
  "libpcre2-8-0",
  "libselinux1",
] as const;

export const IMAGES: readonly ImagePlan[] = [
  { name: "isotope", packages: RUNTIME_PACKAGES },
  { name: "deno-env", packages: RUNTIME_PACKAGES },
  { name: "fetcher", packages: RUNTIME_PACKAGES },
  { name: "builder", packages: [...RUNTIME_PACKAGES, ...SHELL_PACKAGES].toSorted() },
];

export const imagePlan = (name: ImageName): ImagePlan => {
  const plan = IMAGES.find((image) => image.name === name);
  if (!plan)
    throw new RangeError(
      `Cannot build image "${name}": allowed are ${IMAGES.map((image) => image.name).join(", ")}`,
    );
  return plan;
};
