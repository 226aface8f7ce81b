"""A server of event streams in nothing but Python, and the verdict of a command on it."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind = "text/event-stream" if self.path == "/events" else "text/html"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        number = int(self.headers.get("Last-Event-ID") or 0)
        while kind == "text/event-stream":
            number += 1
            try:
                self.wfile.write(f"id: {number}\ndata: event {number}\n\n".encode())
            except OSError:
                return
            time.sleep(0.1)

    def log_message(self, *_):
        pass


def probed(command, port, path):
    """The exit code, and the report."""
    report = tempfile.mktemp(suffix=".json")
    checks = ["con.status", "con.type", "fmt", "--wait", "3", "--json", report]
    url = f"http://127.0.0.1:{port}{path}"
    code = subprocess.run([*command, "probe", url, *checks], stdout=subprocess.DEVNULL).returncode
    with open(report, encoding="utf-8") as file:
        found = json.load(file)
    os.remove(report)
    return code, {check["id"]: check["verdict"] for check in found["checks"]}


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command, port = sys.argv[1:], server.server_address[1]
    code, checks = probed(command, port, "/events")
    assert code == 0, f"a good server gets {code}: {checks}"
    assert checks["con.type"] == "pass" and checks["fmt.utf8"] == "pass", checks
    code, checks = probed(command, port, "/page")
    assert code == 3, f"a page gets {code}: {checks}"
    print(f"{command[0]} has a verdict on a server in Python")


main()
