"""An encoder, and a client that comes back: what users of the package have, in few lines."""

import json
import sys
import time
import urllib.error
import urllib.request

from sse_vectors.reference import decode


def encode(data, event="", id=None):
    if any(char in event + (id or "") for char in "\r\n\0"):
        raise ValueError("type and id are one line, without NUL")
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    fields = [f"event: {event}"] if event else []
    fields += [f"id: {id}"] if id is not None else []
    return "\n".join([*fields, *(f"data: {line}" for line in lines), "", ""]).encode()


def read(url, last=""):
    while True:
        headers = {"Last-Event-ID": last.encode().decode("latin-1")} if last else {}
        try:
            answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers))
        except urllib.error.HTTPError:
            return
        kind = answer.headers.get_content_type()
        if answer.status != 200 or kind != "text/event-stream":
            return
        stream = answer.read()
        for event in decode([stream], last):
            print(json.dumps(event), flush=True)
        # A block without data has no event, but may have an id.
        ids = [event["id"] for event in decode([stream.replace(b"\n\n", b"\ndata\n\n")], last)]
        last = ids[-1] if ids else last
        time.sleep(0.01)


if __name__ == "__main__":
    read(sys.argv[1])
