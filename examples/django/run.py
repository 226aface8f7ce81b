#!/usr/bin/env python3
"""Starts it all: Redis, the Django site and sse-server, each again when it was killed.

    python3 examples/django/run.py

Then open the address that it prints. `--check` clicks through it without a browser, and says
whether everything went as it should. It needs redis-server and cargo; Python's packages go to a
folder of their own below `target`. SSE_EXAMPLE_PYTHON and SSE_EXAMPLE_SERVER name a Python that has
them, and a server that is built.
"""

import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = ["django-eventstream==5.3.4", "daphne==4.2.3", "Django==5.2.19", "redis==8.1.0"]


def python():
    """A Python that has Django."""
    named = os.environ.get("SSE_EXAMPLE_PYTHON")
    if named:
        return named
    folder = ROOT / "target" / "example-django"
    own = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print("getting Django …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([own, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "ready").touch()
    return str(own)


def server():
    """The program sse-server."""
    named = os.environ.get("SSE_EXAMPLE_SERVER")
    if named:
        return named
    subprocess.run(["cargo", "build", "--bin", "sse-server"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "debug" / "sse-server")


def free_port(wanted=0):
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(("127.0.0.1", wanted))
        except OSError:
            found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Kept:
    """A process that is started again when it ends."""

    def __init__(self, command, cwd, env=None, pid_file=None, output=None):
        self.command, self.cwd, self.env, self.pid_file, self.output = command, cwd, env, pid_file, output
        self.is_over = False
        self.start()
        threading.Thread(target=self.watch, daemon=True).start()

    def start(self):
        options = {"cwd": self.cwd, "env": self.env, "stdin": subprocess.DEVNULL, "stdout": self.output}
        self.process = subprocess.Popen(self.command, **options)
        if self.pid_file:
            self.pid_file.write_text(str(self.process.pid))

    def watch(self):
        while True:
            self.process.wait()
            if self.is_over:
                return
            time.sleep(1)
            self.start()

    def stop(self):
        self.is_over = True
        self.process.terminate()
        self.process.wait()


class Example:
    def __init__(self, folder, is_check):
        program, interpreter = server(), python()
        ports = [free_port(0 if is_check else wanted) for wanted in (8000, 8080, 0)]
        self.site, self.stream, redis = ports
        self.token = secrets.token_hex(16)
        settings = folder / "sse-server.toml"
        settings.write_text(
            f'listen = "127.0.0.1:{self.stream}"\n'
            f'storage = "redis://127.0.0.1:{redis}"\n'
            f'relay = "redis://127.0.0.1:{redis}"\n'
            f'publish-token = "{self.token}"\n'
            'log = "warn"\n'
            "[[access.rules]]\n"
            'channel = "orders"\n'
            'allow = "backend"\n'
            "[access.forward-auth]\n"
            f'url = "http://127.0.0.1:{self.site}/may-read/"\n'
            "[cors]\n"
            f'origins = ["http://127.0.0.1:{self.site}"]\n'
            "credentials = true\n"
        )
        env = dict(os.environ, REDIS_PORT=str(redis), SSE_TOKEN=self.token, PYTHONDONTWRITEBYTECODE="1")
        env.update(SSE_URL=f"http://127.0.0.1:{self.stream}", SSE_PID=str(folder / "pid"))
        daphne = [interpreter, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(self.site), "shop:application"]
        store = ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"]
        self.kept = [Kept(store, folder, output=subprocess.DEVNULL)]
        until("Redis to listen", lambda: listens(redis))
        self.kept.append(Kept([program, "--config", str(settings)], folder, pid_file=folder / "pid"))
        self.kept.append(Kept(daphne, HERE, env))
        until("both to listen", lambda: listens(self.site) and listens(self.stream))

    def stop(self):
        for kept in reversed(self.kept):
            kept.stop()

    def check(self):
        """What a person would click."""
        cookies = {}

        def post(path, body=b""):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.site}/") as answer:
                token = re.search(r'"token": "(\w+)"', answer.read().decode())[1]
                csrf = answer.headers["Set-Cookie"].split(";")[0]
            cookie = "; ".join([csrf, *cookies.values()])
            headers = {"X-CSRFToken": token, "Cookie": cookie, "Origin": f"http://127.0.0.1:{self.site}"}
            request = urllib.request.Request(f"http://127.0.0.1:{self.site}{path}", body, headers, method="POST")
            with urllib.request.urlopen(request) as answer:
                for line in answer.headers.get_all("Set-Cookie") or []:
                    name, value = line.split(";")[0].split("=", 1)
                    cookies[name] = f"{name}={value}"

        def stream(last_event_id=None):
            connection = http.client.HTTPConnection("127.0.0.1", self.stream, timeout=30)
            headers = {"Cookie": "; ".join(cookies.values())}
            if last_event_id:
                headers["Last-Event-ID"] = last_event_id
            connection.request("GET", "/events/?channel=orders", headers=headers)
            return connection.getresponse()

        def read(answer, text):
            while True:
                line = answer.readline().decode()
                assert line, f"the stream has ended before {text!r}"
                if line.startswith("id: "):
                    self.last = line[4:].strip()
                if text in line:
                    return

        post("/login/alice/")
        first = stream()
        read(first, "stream-open")
        post("/order/", b"two loaves")
        read(first, "two loaves")
        # Either side may die: who comes back goes on.
        post("/order/", b"a pie")
        last, pid = self.last, self.kept[1].process.pid
        post("/kill/sse-server/")
        until("sse-server to be there again", lambda: self.kept[1].process.pid != pid and listens(self.stream))
        again = stream(last)
        read(again, "a pie")
        pid = self.kept[2].process.pid
        try:
            post("/kill/django/")
        except (urllib.error.URLError, ConnectionError, http.client.HTTPException):
            pass
        until("Django to be there again", lambda: self.kept[2].process.pid != pid and listens(self.site))
        post("/order/", b"three rolls")
        read(again, "three rolls")
        post("/permit/alice/no/")
        read(again, "Permission denied")
        print("all went as it should")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def until(what, is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit(f"timed out: {what}")
        time.sleep(0.05)


def main():
    is_check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not is_check:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as folder:
        example = Example(Path(folder), is_check)
        try:
            if is_check:
                example.check()
                return
            print(f"open http://127.0.0.1:{example.site}/ (Ctrl-C ends it)", flush=True)
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass
        finally:
            example.stop()


if __name__ == "__main__":
    main()
