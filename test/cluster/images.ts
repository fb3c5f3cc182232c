import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../scripts/images/run-command.ts";
import { type Layout, PAUSE_IMAGE } from "./layout.ts";
import { writeOciArchive } from "./oci-archive.ts";

const NAMESPACE = "k8s.io";
export const COREDNS_IMAGE = "isotope.local/coredns:1";
const BUSYBOX = "/bin/busybox";

const ctr = ({ containerdSocket }: Layout, ...args: string[]): Promise<string> =>
  runCommand("ctr", ["--address", containerdSocket, "--namespace", NAMESPACE, ...args]);

/** Names of the images that the node has. */
export const nodeImages = async (layout: Layout): Promise<string[]> =>
  (await ctr(layout, "images", "list", "--quiet")).split("\n").filter(Boolean);

/** Imports an OCI or docker archive into the node. Its image is used under the name that the archive gives it. */
export async function importArchive(layout: Layout, archive: string): Promise<void> {
  await ctr(layout, "images", "import", archive);
}

/** Makes and imports the images that the cluster itself needs: a pause container, which is busybox, and CoreDNS. */
export async function importOwnImages(layout: Layout, bin: string): Promise<void> {
  const folder = join(layout.state, "images");
  mkdirSync(folder, { recursive: true });
  const applets = (await runCommand(BUSYBOX, ["--list"]))
    .split("\n")
    .filter((name) => name && name !== "busybox");
  const busybox = join(folder, "busybox.tar");
  await writeOciArchive(busybox, {
    ref: PAUSE_IMAGE,
    files: [{ path: "bin/busybox", content: readFileSync(BUSYBOX) }],
    links: Object.fromEntries(applets.map((name) => [`bin/${name}`, "busybox"])),
    entrypoint: ["/bin/busybox", "sleep", "infinity"],
  });
  await importArchive(layout, busybox);
  const coredns = join(folder, "coredns.tar");
  await writeOciArchive(coredns, {
    ref: COREDNS_IMAGE,
    files: [{ path: "bin/coredns", content: readFileSync(join(bin, "coredns")) }],
    entrypoint: ["/bin/coredns"],
  });
  await importArchive(layout, coredns);
}
