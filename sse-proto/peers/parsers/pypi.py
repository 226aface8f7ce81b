"""Parsers of PyPI, each as the function that the runner of the vectors wants: chunks to events.

Where a package tells only the id field of a block, and not the last event ID in force, ids are not
compared.
"""

import contextlib
import importlib.util
import sysconfig
from pathlib import Path

import anthropic._streaming
import httpx
import httpx_sse
import openai._streaming
import requests
import requests_sse
import sseclient
from ld_eventsource.reader import _BufferedLineReader, _SSEReader


class Ended(BaseException):
    """The stream has ended, and the client comes back."""


def typed(kind, data, **more):
    return {"event": kind or "message", "data": data, **more}


def by_httpx_sse(chunks):
    head = {"Content-Type": "text/event-stream"}
    response = httpx.Response(200, headers=head, content=iter(chunks))
    return [typed(event.event, event.data, id=event.id) for event in httpx_sse.EventSource(response).iter_sse()]


class Bytes(list):
    def close(self):
        pass


def by_sseclient_py(chunks):
    return [typed(event.event, event.data) for event in sseclient.SSEClient(Bytes(chunks)).events()]


class Raw:
    """The body of an answer, which comes in these chunks. At its end clients wait and come back."""

    def __init__(self, chunks):
        self.chunks = [chunk for chunk in chunks if chunk]

    def read(self, *_):
        if not self.chunks:
            raise Ended
        return self.chunks.pop(0)

    def stream(self, *_, **__):
        yield from self.chunks

    def close(self):
        pass

    release_conn = close


class Session(requests.Session):
    """Answers once."""

    def __init__(self, chunks):
        super().__init__()
        self.body = chunks

    def request(self, *_, **__):
        response = requests.Response()
        response.status_code = 200
        response.headers["Content-Type"] = "text/event-stream"
        response.encoding = "utf-8"
        response.raw = Raw(self.body)
        return response


def sseclient_itself():
    """Its module has the name of the package of sseclient-py."""
    path = Path(sysconfig.get_path("purelib")) / "sseclient.py"
    spec = importlib.util.spec_from_file_location("sseclient_itself", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SSECLIENT = sseclient_itself()


def by_sseclient(chunks):
    found = []
    with contextlib.suppress(Ended):
        for event in SSECLIENT.SSEClient("http://127.0.0.1/", session=Session(chunks)):
            found.append(typed(event.event, event.data))
    return found


def ended():
    raise Ended


def by_requests_sse(chunks):
    found = []
    with contextlib.suppress(Ended):
        with requests_sse.EventSource("http://127.0.0.1/", session=Session(chunks), on_error=ended) as source:
            for event in source:
                found.append(typed(event.type, event.data, id=event.last_event_id))
    return found


def by_launchdarkly(chunks):
    reader = _SSEReader(_BufferedLineReader.lines_from(iter(chunks)))
    events = (event for event in reader.events_and_comments() if hasattr(event, "data"))
    return [typed(event.event, event.data, id=event.last_event_id or "") for event in events]


def by_sdk(module):
    def decode(chunks):
        return [typed(event.event, event.data) for event in module.SSEDecoder().iter_bytes(iter(chunks))]

    return decode


PARSERS = {
    "httpx-sse": by_httpx_sse,
    "sseclient-py": by_sseclient_py,
    "sseclient": by_sseclient,
    "requests-sse": by_requests_sse,
    "launchdarkly-eventsource": by_launchdarkly,
    "openai": by_sdk(openai._streaming),
    "anthropic": by_sdk(anthropic._streaming),
}
