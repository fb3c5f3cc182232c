"""A runtime of the environment contract for Python functions: versions 1, 2 and 3, one function or any number of them.

    python3 server.py [--host 0.0.0.0] [--port 8888] [--userfunc /userfunc]

A function is a callable of one argument, the request (method, path with query, headers, body, secrets and configs folders), in `main`, or
as `functionName` "module.callable" says. It returns a body, or (status, headers, body).
"""

import argparse
import importlib
import importlib.util
import json
import os
import signal
import sys
import threading
import traceback
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FUNCTION_UID = "X-Fission-Function-Uid"


class Request:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.secrets = os.environ.get("SECRETS_FOLDER", "/secrets")
        self.configs = os.environ.get("CONFIGS_FOLDER", "/configs")
        self.userfunc = OPTIONS.userfunc


def load(filepath, function_name):
    """The callable of a file, or of a file in a folder or zip: "module", "module.callable" or "" (main.main)."""
    if zipfile.is_zipfile(filepath):
        module_name, _, name = function_name.partition(".")
        sys.path.insert(0, filepath)
        return getattr(importlib.import_module(module_name or "main"), name or "main")
    if os.path.isdir(filepath):
        module_name, _, name = function_name.partition(".")
        filepath = os.path.join(filepath, (module_name or "main") + ".py")
    else:
        name = function_name.rpartition(".")[2]
    with open(filepath, "rb") as file:
        source = file.read()
    spec = importlib.util.spec_from_loader("user_" + str(abs(hash(filepath))), loader=None)
    module = importlib.util.module_from_spec(spec)
    module.__file__ = filepath
    sys.path.insert(0, os.path.dirname(filepath))
    exec(compile(source, filepath, "exec"), module.__dict__)
    return getattr(module, name or "main")


class Functions:
    """The function of the pod, or one for each function UID."""

    def __init__(self):
        self.by_uid = {}
        self.only = None

    def add(self, uid, function):
        self.by_uid[uid] = function
        self.only = function

    def find(self, headers):
        return self.by_uid.get(headers.get(FUNCTION_UID, ""), self.only)


FUNCTIONS = Functions()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "python-env"
    timeout = 60

    def answer(self, status, headers, body):
        data = body if isinstance(body, bytes) else str(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
            if size == 0:
                return b"".join(chunks)

    def specialize(self, body):
        shared = self.path == "/v2/specialize"
        try:
            message = json.loads(body) if shared else {"filepath": os.path.join(OPTIONS.userfunc, "user")}
            metadata = message.get("FunctionMetadata") or {}
            function = load(message["filepath"], message.get("functionName") or "")
        except BaseException as error:  # also what user code does at import, such as sys.exit
            traceback.print_exc()
            return self.answer(500, {}, f"{type(error).__name__}: {error}")
        FUNCTIONS.add(metadata.get("uid", ""), function)
        return self.answer(202, {}, "")

    def serve(self):
        body = self.read_body()
        pod_call = FUNCTION_UID not in self.headers and (OPTIONS.infinite or FUNCTIONS.only is None)
        if pod_call and self.command == "POST" and self.path in ("/specialize", "/v2/specialize"):
            return self.specialize(body)
        function = FUNCTIONS.find(self.headers)
        if function is None:
            if self.path == "/healthz":
                return self.answer(200, {}, "OK")
            return self.answer(500, {}, "Generic container: no requests supported")
        try:
            result = function(Request(self.command, self.path, self.headers, body))
            status, headers, content = result if isinstance(result, tuple) else (200, {}, result)
        except Exception:
            traceback.print_exc()
            status, headers, content = 500, {}, "Internal server error"
        return self.answer(status, headers, content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = serve

    def log_message(self, *_):
        pass


def main():
    class Server(ThreadingHTTPServer):
        request_queue_size = 1024

    server = Server((OPTIONS.host, OPTIONS.port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(json.dumps({"level": "info", "msg": f"listens on {server.server_address[1]}"}), flush=True)
    server.serve_forever()


parser = argparse.ArgumentParser()
parser.add_argument("--host", default="0.0.0.0")
parser.add_argument("--port", type=int, default=8888)
parser.add_argument("--userfunc", default="/userfunc")
parser.add_argument("--infinite", action="store_true", help="take any number of functions")
OPTIONS = parser.parse_args()
main()
