"""An origin for Pushpin: it numbers events, keeps them in memory, answers each request at once with what
was missed and with leave to hold the connection, and hands each new event to Pushpin. One channel.
Arguments: its own port, and Pushpin's port for publishing."""

import json
import re
import sys
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, CONTROL = sys.argv[1:3]
# At most as much as Pushpin takes for the beginning of a stream; the rest follows by the next link.
PAGE = 60_000

log = []
lock = threading.Lock()


def encoded(number, kind, data):
    """An event's bytes. Nothing in it can end a line: that is the origin's part, not Pushpin's."""
    kind = re.sub(r"[\r\n\0]", "", kind)
    lines = re.split(r"\r\n|\r|\n", data)
    return f"id: {number}\nevent: {kind}\n" + "".join(f"data: {line}\n" for line in lines) + "\n"


def page(after):
    """The events after a number, as many as go into one answer, and the number of the last one."""
    body = ""
    for text in log[after:]:
        if body and len(body) + len(text) > PAGE:
            break
        body += text
        after += 1
    return body, after


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        if path not in ("/events/", "/next/"):
            return self.answer(404, "text/plain", b"nothing here\n")
        asked = self.headers.get("Last-Event-ID", "")
        if path == "/next/":
            asked = self.headers.get("Grip-Last", "").partition("last-id=")[2]
        with lock:
            head = len(log)
            is_known = re.fullmatch("[0-9]{1,9}", asked) and int(asked) <= head
            body, last = page(int(asked)) if is_known else ("", head)
        if path == "/events/":
            gap = f"event: stream-reset\nid: {head}\ndata:\n\n" if asked and not is_known else ""
            body = ":ok\nretry: 2000\n\n" + gap + body
        hold = [("Grip-Link", "</next/>; rel=next; timeout=60")]
        if last == head:
            hold.append(("Grip-Hold", "stream"))
            hold.append(("Grip-Channel", f"test; prev-id={last}"))
            hold.append(("Grip-Keep-Alive", ":\\n\\n; format=cstring; timeout=20"))
        else:
            # There is more: the link is followed at once.
            hold.append(("Grip-Channel", f"test; prev-id={last}"))
        self.answer(200, "text/event-stream", body.encode(), hold)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            asked = json.loads(body)
            kind, data = asked["event"], asked["text"]
            f"{kind}{data}".encode()
        except (ValueError, KeyError, TypeError, AttributeError):
            return self.answer(400, "text/plain", b"this is no event\n")
        if len(kind) + len(data) > 500_000:
            return self.answer(413, "text/plain", b"too long for Pushpin\n")
        with lock:
            number = len(log) + 1
            log.append(encoded(number, kind, data))
            item = {"channel": "test", "id": str(number), "prev-id": str(number - 1)}
            item["formats"] = {"http-stream": {"content": log[-1]}}
            body = json.dumps({"items": [item]}).encode()
            url = f"http://127.0.0.1:{CONTROL}/publish/"
            headers = {"Content-Type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(url, body, headers)).read()
        self.answer(200, "text/plain", b"")

    def answer(self, status, kind, body, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if kind == "text/event-stream":
            self.send_header("Cache-Control", "no-cache")
            self.send_header("X-Accel-Buffering", "no")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        # Without leave to hold it: it would be followed by events.
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


server = Server(("127.0.0.1", int(PORT)), Handler)
print("listening", flush=True)
server.serve_forever()
