"""Runs an implementation of Server-Sent Events through the cases of this package.

    python -m sse_vectors decode adapter:decode    # decode(chunks[, last_event_id]) -> events
    python -m sse_vectors encode adapter:encode    # encode(**fields) -> bytes; raises if it refuses
    python -m sse_vectors resume 'client {url}'    # prints events as lines of JSON

An event is a dict with `event`, `data` and `id`, the last event ID in force. Without `id` in it, ids
are not compared.
"""

import importlib
import inspect
import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "vectors"
KEYS = ("event", "data", "id")


def cases(kind):
    """All cases of `decoding`, `encoding` or `resuming`."""
    files = sorted((FOLDER / kind).glob("*.json"))
    return [case for file in files for case in json.loads(file.read_text("utf-8"))["cases"]]


def chunkings(stream):
    """Whole, in single bytes, and cut in two at every place."""
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(1, len(stream)):
        yield [stream[:at], stream[at:]]


def same(expected, found):
    """Whether the events are those that are expected, as far as they say."""
    found = [dict(event) for event in found]
    wanted = [{key: event[key] for key in KEYS if key in found[at]} for at, event in enumerate(expected[: len(found)])]
    return len(expected) == len(found) and wanted == [{key: event[key] for key in KEYS if key in event} for event in found]


def decoding(decode):
    """What differs, a line for each case; and how many cases there were."""
    seeds, differs, count = len(inspect.signature(decode).parameters) > 1, [], 0
    for case in cases("decoding"):
        seed = case.get("last_event_id", "")
        if case.get("limits") or case.get("comments") or (seed and not seeds):
            continue
        count += 1
        stream = "".join(step["bytes"] for step in case["steps"]).encode("latin-1")
        expected = [item for step in case["steps"] for item in step["expect"] if "event" in item]
        for chunks in chunkings(stream):
            try:
                found = list(decode(chunks, seed) if seeds else decode(chunks))
                fits = same(expected, found)
            except Exception as error:  # whatever the implementation raises
                found, fits = repr(error), False
            if not fits:
                differs.append(f"{case['name']}: {chunks} gave {found}, not {expected}")
                break
    return differs, count


def encoding(encode, decode):
    """The same for an encoder; `decode` is a decoder that is right."""
    differs = []
    for case in cases("encoding"):
        try:
            stream = encode(**case["fields"])
        except Exception as error:
            if not case["may_refuse"]:
                differs.append(f"{case['name']}: refused: {error!r}")
            continue
        found = list(decode([stream]))
        if not any(same(outcome, found) for outcome in case["outcomes"]):
            differs.append(f"{case['name']}: {stream} is {found}, not one of {case['outcomes']}")
    return differs, len(cases("encoding"))


def main(kind, name):
    if kind == "resume":
        from . import resume

        differs, count = resume.resuming(name)
    else:
        sys.path.insert(0, ".")
        module, function = name.split(":")
        function = getattr(importlib.import_module(module), function)
        if kind == "decode":
            differs, count = decoding(function)
        else:
            from .reference import decode

            differs, count = encoding(function, decode)
    print("\n".join([*differs, f"{count - len(differs)} of {count} cases agree"]))
    return 1 if differs else 0
