"""A server that answers as a case says, and a client's command that is run against it."""

import json
import shlex
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from . import cases, same

#: How long a client may take, in seconds; and how long one that should stop is watched.
PATIENCE, WATCH = 10, 2


def resuming(command):
    differs = [f"{case['name']}: {why}" for case in cases("resuming") for why in differences(case, command)]
    return differs, len(cases("resuming"))


def differences(case, command):
    asked, enough = [], threading.Event()
    answers, wanted = case["connections"], [one["last_event_id"] for one in case["connections"]]
    if case["then"] == "reconnects":
        wanted.append(case["next_last_event_id"])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            sent = self.headers.get("Last-Event-ID")
            asked.append(sent and sent.encode("latin-1").decode("utf-8", "replace"))
            answer = answers[len(asked) - 1] if len(asked) <= len(answers) else {"status": 204, "bytes": ""}
            if len(asked) >= len(wanted):
                threading.Timer(0.3, enough.set).start()
            self.send_response(answer["status"])
            if answer["status"] != 204:
                self.send_header("Content-Type", answer.get("content_type", "text/event-stream"))
            self.end_headers()
            self.wfile.write(answer["bytes"].encode("latin-1"))

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    words = [word.replace("{url}", url) for word in shlex.split(command)]
    client = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    enough.wait(PATIENCE)
    if case["then"] == "stops":
        threading.Event().wait(WATCH)
    client.kill()
    lines = client.communicate()[0].decode("utf-8").splitlines()
    server.shutdown()
    server.server_close()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    if asked != wanted:
        yield f"it asked with {asked}, not {wanted}"
    elif not same(case["events"], [event for event in found if "event" in event]):
        yield f"it delivered {found}, not {case['events']}"
