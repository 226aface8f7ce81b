"""Chromium's own EventSource, as `sse-fuzz hostile --check` wants a client to be.

It takes a URL and the types of events to listen to, and prints each event as a line of JSON. The
browser is driven by WebDriver: `SSE_WEBDRIVER` is the URL of a session that nobody else uses
meanwhile. The page is one of the hostile server's own, so that it is of the same origin.
"""

import json
import os
import sys
import time
import urllib.request
from urllib.parse import urlsplit

SESSION = os.environ["SSE_WEBDRIVER"]
URL, TYPES = sys.argv[1], sys.argv[2].split(",")

START = """
const [url, types] = arguments;
window.seen = [];
const source = new EventSource(url);
for (const type of types) {
  source.addEventListener(type, (event) => {
    if (!(event instanceof MessageEvent)) return;
    window.seen.push({ event: event.type, data: event.data, id: event.lastEventId });
  });
}
window.source = source;
"""
TAKE = "return [window.seen.splice(0), window.source.readyState];"


def post(path, value):
    data = json.dumps(value).encode()
    request = urllib.request.Request(SESSION + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["value"]


def run(script, *arguments):
    return post("/execute/sync", {"script": script, "args": list(arguments)})


place = urlsplit(URL)
# Leaving the page before ends what it has open.
post("/url", {"url": f"{place.scheme}://{place.netloc.rpartition('@')[2]}/ca.pem"})
run(START, URL, TYPES)
while True:
    events, state = run(TAKE)
    for event in events:
        print(json.dumps(event), flush=True)
    if state == 2 and not events:
        sys.exit(0)
    time.sleep(0.03)
