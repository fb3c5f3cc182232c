"""A builder of the reference system's contract, for Python packages.

    python3 builder.py [--host 0.0.0.0] [--port 8001] [--packages /packages]

POST / {srcPkgFilename, command} runs the command in the source's folder, with SRC_PKG and DEPLOY_PKG set; without a command the source is
checked and copied. DELETE /clean?name= removes a package.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

parser = argparse.ArgumentParser()
parser.add_argument("--host", default="0.0.0.0")
parser.add_argument("--port", type=int, default=8001)
parser.add_argument("--packages", default="/packages")
OPTIONS = parser.parse_args()


def default_build(source, target):
    shutil.copytree(source, target)
    for base, _, names in os.walk(target):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(base, name)
                with open(path, "rb") as file:
                    compile(file.read(), path, "exec")


def build(name, command):
    """The artifact's name and the log; raises with the log when the build fails."""
    source = os.path.join(OPTIONS.packages, name)
    artifact = name + "-" + secrets.token_hex(3)
    target = os.path.join(OPTIONS.packages, artifact)
    if not command:
        default_build(source, target)
        return artifact, "checked and copied\n"
    env = {**os.environ, "SRC_PKG": source, "DEPLOY_PKG": target}
    done = subprocess.run(command.split(), cwd=source, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError("the command ended with " + str(done.returncode) + "\n" + done.stdout)
    return artifact, done.stdout


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            artifact, log = build(message["srcPkgFilename"], message.get("command", ""))
            self.answer(200, {"artifactFilename": artifact, "buildLogs": log})
        except Exception as error:
            self.answer(500, {"artifactFilename": "", "buildLogs": f"{type(error).__name__}: {error}"})

    def do_DELETE(self):
        name = parse_qs(urlparse(self.path).query)["name"][0]
        path = os.path.join(OPTIONS.packages, os.path.basename(name))
        shutil.rmtree(path, ignore_errors=True)
        self.answer(200, {})

    def do_GET(self):
        self.answer(200, {"version": "test"})

    def log_message(self, *_):
        pass


print(json.dumps({"level": "info", "msg": f"listens on {OPTIONS.port}"}), flush=True)
ThreadingHTTPServer((OPTIONS.host, OPTIONS.port), Handler).serve_forever()
