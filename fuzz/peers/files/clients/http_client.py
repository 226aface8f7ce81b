"""A client that is right, by `http.client` alone: what `sse-fuzz hostile` must not accuse of anything.

It takes a URL, a header, a method, a body and a file with a certificate to believe, and prints each
event as a line of JSON.
"""

import codecs
import email.utils
import http.client
import json
import re
import ssl
import sys
import time
from urllib.parse import urljoin, urlsplit

URL, HEADER, METHOD, BODY, AUTHORITY = sys.argv[1:6]
MOST = 16 << 20  # characters of an event that are kept
SILENCE = 3
last_id, wait = "", 1.0


class Parser:
    """Section 9.2.6 of the standard."""

    def __init__(self):
        self.line, self.after_cr, self.dropped = [], False, False
        self.data, self.size, self.type, self.id = [], 0, "", last_id

    def feed(self, text):
        if self.after_cr and text:
            self.after_cr = False
            text = text.removeprefix("\n")
        start = 0
        for end in re.finditer("\r\n?|\n", text):
            self.keep(text[start:end.start()])
            start = end.end()
            self.after_cr = end.group() == "\r" and start == len(text)
            line, self.line = "".join(self.line), []
            self.take(line)
        self.keep(text[start:])

    def keep(self, text):
        if not text:
            return
        self.size += len(text)
        if self.dropped or self.size > MOST:
            self.dropped, self.data, self.line = True, [], [":"]
        else:
            self.line.append(text)

    def take(self, line):
        global wait
        if not line:
            return self.dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self.data.append(value)
        else:
            self.size -= len(line)
        if field == "event":
            self.type = value
        elif field == "id" and "\0" not in value:
            self.id = value
        elif field == "retry" and re.fullmatch("[0-9]{1,4000}", value):
            wait = min(int(value), 3_600_000) / 1000

    def dispatch(self):
        global last_id
        last_id = self.id
        if self.data and not self.dropped:
            event = {"event": self.type or "message", "data": "\n".join(self.data), "id": last_id}
            print(json.dumps(event), flush=True)
            if self.type == "stream-error":
                sys.exit(1)
        self.data, self.size, self.type, self.dropped = [], 0, "", False


def ask(url, header):
    """Sends a request; the connection and the answer."""
    place = urlsplit(url)
    if place.scheme == "https":
        context = ssl.create_default_context(cafile=AUTHORITY)
        connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=SILENCE, context=context)
    else:
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=SILENCE)
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache", **header}
    if last_id and not re.search("[\0-\x1f\x7f]", last_id):
        headers["Last-Event-ID"] = last_id.encode()
    target = place.path + ("?" + place.query if place.query else "")
    connection.request(METHOD, target, body=BODY.encode() or None, headers=headers)
    answer = connection.getresponse()
    if answer.msg.defects:
        # It takes a head that was cut short for a whole one.
        raise http.client.HTTPException("half a head")
    return connection, answer


def attempt():
    """One connection; how long to wait before the next, at least."""
    url, header = URL, dict([HEADER.split(": ", 1)])
    if urlsplit(url).username:
        header["Authorization"] = "Basic aG9zdGlsZTpzZWNyZXQ="
    for _ in range(20):
        connection, answer = ask(url, header)
        if answer.status not in (301, 302, 303, 307, 308):
            break
        try:
            to = urljoin(url, answer.headers["Location"])
            there, here = urlsplit(to), urlsplit(url)
            if there.scheme not in ("http", "https") or not answer.headers["Location"]:
                sys.exit(1)
        except ValueError:
            sys.exit(1)
        if (there.scheme, there.hostname, there.port) != (here.scheme, here.hostname, here.port):
            header = {}
        url = to
        connection.close()
    else:
        sys.exit(1)
    if answer.status in (408, 425, 429) or answer.status >= 500:
        after = answer.headers["Retry-After"] or "1"
        if not after.isdigit():
            after = email.utils.parsedate_to_datetime(after).timestamp() - time.time()
        return min(float(after), 3600)
    kind = (answer.headers["Content-Type"] or "").partition(";")[0].strip().lower()
    if answer.status != 200 or kind != "text/event-stream":
        sys.exit(1)
    decoder, parser = codecs.getincrementaldecoder("utf-8")("replace"), Parser()
    is_first = True
    while data := answer.read1(65536):
        text = decoder.decode(data)
        if is_first and text:
            is_first, text = False, text.removeprefix("\ufeff")
        parser.feed(text)
    connection.close()
    return 0


while True:
    asked = 0
    try:
        asked = attempt()
    except (OSError, http.client.HTTPException):
        pass
    if METHOD != "GET":
        sys.exit(0)
    time.sleep(max(wait, asked, 0.4))
