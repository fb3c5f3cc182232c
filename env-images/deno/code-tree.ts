/** Where an entry point is looked for. Paths are absolute. */
export interface CodeTree {
  isFile(path: string): boolean;
  /** Throws when there is no such file. */
  text(path: string): string;
  /** Whether `file` is the only module in its folder and the folder has no others in it, so that nothing else can import it. */
  standsAlone(file: string): boolean;
  /** The text of a file that lies beside the code, for a stack. Throws when it cannot be read. */
  textOnDemand(path: string): string;
  /** Everything is on disk once this resolves. */
  settle(): Promise<void>;
}

const MODULE_FILE = /\.([mc]?[jt]sx?|json|wasm|node)$/;
const folderOf = (path: string): string => path.slice(0, path.lastIndexOf("/"));

/** Looks into the folder: asking for a file that is not there makes an error, which costs a millisecond. */
function isFileOnDisk(path: string): boolean {
  const slash = path.lastIndexOf("/");
  try {
    for (const entry of Deno.readDirSync(path.slice(0, slash))) {
      if (entry.name === path.slice(slash + 1))
        return entry.isFile || (entry.isSymlink && Deno.statSync(path).isFile);
    }
  } catch {
    // The folder is not there, or the link leads nowhere.
  }
  return false;
}

function standsAloneOnDisk(file: string): boolean {
  const folder = folderOf(file);
  for (const { name, isFile } of Deno.readDirSync(folder)) {
    if (!isFile || (MODULE_FILE.test(name) && `${folder}/${name}` !== file)) return false;
  }
  return true;
}

/** What lies on disk. */
export const diskTree: CodeTree = {
  isFile: isFileOnDisk,
  text: (path) => Deno.readTextFileSync(path),
  standsAlone: standsAloneOnDisk,
  textOnDemand: (path) => Deno.readTextFileSync(path),
  settle: () => Promise.resolve(),
};

/** What was just unpacked and is still in memory: nothing is read back from disk. */
export function unpackedTree(
  files: ReadonlyMap<string, Uint8Array>,
  held: ReadonlyMap<string, { text(): string; fill(): Promise<void> }>,
): CodeTree {
  return {
    isFile: (path) => files.has(path) || held.has(path),
    text: (path) => {
      const bytes = files.get(path);
      return bytes === undefined ? Deno.readTextFileSync(path) : new TextDecoder().decode(bytes);
    },
    standsAlone: (file) => {
      const within = `${folderOf(file)}/`;
      for (const path of files.keys()) {
        if (path === file || !path.startsWith(within)) continue;
        if (path.includes("/", within.length) || MODULE_FILE.test(path)) return false;
      }
      return true;
    },
    textOnDemand: (path) => held.get(path)?.text() ?? Deno.readTextFileSync(path),
    settle: async () => {
      for (const file of held.values()) await file.fill();
    },
  };
}
