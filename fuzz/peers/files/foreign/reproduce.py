"""Faults of clients that others wrote, each shown by a socket that writes some bytes and the client alone.

Nothing of this project is used, so that a fault can be reported with it. In an empty folder:

    npm install eventsource@5.1.5 @microsoft/fetch-event-source@2.0.1
    python3 -m venv py && py/bin/pip install httpx-sse==0.4.3
    python3 PATH/OF/reproduce.py

Each line has the case of `sse-fuzz hostile`, the client, what is right by the standard, and what the client made of
it. The first three lines show that each of them gets a plain event. Ends with 1 if one line is not as it was.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
BOM = b"\xef\xbb\xbf"
CLIENTS = {
    # Each prints a list for an event (data, or more), and a number for a reconnection time.
    "eventsource": ["node", "--input-type=module", "-e", """
        const { EventSource } = await import('eventsource');
        const source = new EventSource(process.argv[1]);
        source.onmessage = (event) => console.log(JSON.stringify([event.data, event.lastEventId]));
        setTimeout(() => process.exit(), 2500);"""],
    "fetch-event-source": ["node", "--input-type=module", "-e", """
        globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
        globalThis.window = globalThis;
        const { fetchEventSource } = await import('@microsoft/fetch-event-source');
        await fetchEventSource(process.argv[1], { openWhenHidden: true, onerror: (error) => { throw error; },
            onmessage: (event) => console.log(JSON.stringify([event.data, event.id])),
        }).catch(() => {});"""],
    "httpx-sse": ["py/bin/python", "-c", """
import httpx, json, sys
from httpx_sse import connect_sse
with httpx.Client() as client, connect_sse(client, 'GET', sys.argv[1]) as source:
    for event in source.iter_sse():
        print(json.dumps([event.data, event.id] if event.retry is None else event.retry), flush=True)"""],
}
# The case, the answers (the last for all that follow), what is right, and who gets it wrong.
ROWS = [
    ("(plain)", [OK + b"id: 1\ndata: a\n\n"], [["a", "1"]], []),
    ("parse.bom-twice", [OK + BOM + BOM + b"data: a\ndata: b\n\n"], [["b", ""]], ["eventsource"]),
    ("con.id-unsendable", [OK + b"retry: 200\nid: a\x01\ndata: a\n\n", OK + b"id: 2\ndata: b\n\n"],
     [["a", "a\x01"], ["b", "2"], "…"], ["eventsource"]),
    ("parse.bom-later", [OK + b"data: a\n" + BOM + b"data: b\n\n"], [["a", ""]], ["fetch-event-source"]),
    ("parse.no-colon", [OK + b"data\ndata\n\n"], [["\n", ""]], ["fetch-event-source"]),
    ("parse.no-data", [OK + b"event: x\n\ndata: a\n\n"], [["a", ""]], ["fetch-event-source", "httpx-sse"]),
    ("parse.id", [OK + b"id: 1\ndata: a\n\ndata: b\n\n"], [["a", "1"], ["b", "1"]], ["fetch-event-source"]),
    ("con.type-parameters", [OK.replace(b"text/event-stream", b"TEXT/Event-Stream; a=b") + b"data: a\n\n"],
     [["a", ""]], ["fetch-event-source", "httpx-sse"]),
    ("con.type-prefix", [OK.replace(b"event-stream", b"event-stream-x") + b"data: a\n\n"], [],
     ["fetch-event-source", "httpx-sse"]),
    ("con.status-201", [OK.replace(b"200 OK", b"201 Created") + b"data: a\n\n"], [], ["fetch-event-source"]),
    ("parse.bom", [OK + BOM + b"data: a\n\n"], [["a", ""]], ["httpx-sse"]),
    # It gets an event only with the byte that comes after it. This stream stays open, and has none.
    ("parse.cr-at-once", [OK + b"data: a\r\r", None], [["a", ""]], ["httpx-sse"]),
] + [
    # An ignored time leaves an event without one.
    (f"parse.retry-{name}", [OK + b"retry: " + text + b"\ndata: a\n\n"], [["a", ""]], ["httpx-sse"])
    for name, text in [("plus", b"+60000"), ("minus", b"-60000"), ("space", b"60000 "),
                       ("digits", "६००००".encode())]
]


def serve(answers):
    """Writes the first answer to the first who connects, the second to the second. `None`, after an answer, keeps
    the connection open."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_kept = answers[-1] is None
    texts, kept = [answer for answer in answers if answer is not None], []

    def run():
        number = 0
        while True:
            client, _ = listener.accept()
            client.recv(65536)
            number += 1
            kept.append(client)
            with contextlib.suppress(OSError):  # it may have left
                client.sendall(texts[min(number, len(texts)) - 1])
                if not is_kept:
                    client.shutdown(socket.SHUT_WR)

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def main():
    changed = 0
    for case, answers, right, wrong in ROWS:
        for client in wrong or CLIENTS:
            try:
                run = subprocess.run([*CLIENTS[client], serve(answers)], capture_output=True, text=True, timeout=6)
                printed = run.stdout
            except subprocess.TimeoutExpired as late:
                printed = (late.stdout or b"").decode()
            got = [json.loads(line) for line in printed.splitlines()]
            # An EventSource comes back by itself, so that it may get more of the same.
            wanted = right[:-1] if right[-1:] == ["…"] else right
            is_right = got[: len(wanted)] == wanted if client == "eventsource" else got == wanted
            changed += is_right == bool(wrong)
            got = json.dumps(got[: max(len(wanted), 2)])
            print(f"{case:19} {client:18} {'right' if is_right else 'WRONG'}: wanted {json.dumps(wanted)}, got {got}")
    return int(changed > 0)


if __name__ == "__main__":
    sys.exit(main())
