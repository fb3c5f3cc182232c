import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { environmentContract } from "../contract-suite.ts";
import { startPython } from "./python-runtime.ts";

async function start() {
  const runtime = await startPython();
  return {
    address: `http://${runtime.host}:${runtime.port}`,
    place: (name: string, content: string) => {
      const file = join(runtime.root, "userfunc", name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      return file;
    },
    stop: runtime.stop,
  };
}

environmentContract("python", start, {
  hello: "def main(request):\n    return 'hello'\n",
  echo: "def main(request):\n    return f'{request.method} {request.path} {request.body.decode()}'\n",
  named: {
    file: "lib.py",
    source: "def first(request):\n    return 'first'\n\ndef second(request):\n    return 'second'\n",
  },
  teapot: "def main(request):\n    return 418, {'x-kind': 'pot'}, 'tea'\n",
  throwing: "def main(request):\n    raise ValueError('no')\n",
  broken: "def main(request:\n",
});
