"""The table of docs/vectors.md, from what the runners have found; and the schemas, which hold."""

import json
import sys
from pathlib import Path

import jsonschema
import sse_vectors

FOLDER = Path(sse_vectors.__file__).parent
#: What differs, in words, by the beginnings of the cases' names; the first that fits.
GROUPS = (
    ("byte order mark", ("bom-",)),
    ("line ends", ("cr", "lf", "mixed-", "line-", "crlf")),
    ("ids", ("id-", "seed", "empty-id")),
    ("UTF-8", ("utf8-", "ill-", "surrogate", "overlong", "truncated")),
    ("end of the stream", ("end-", "eof-")),
    ("comments", ("comment",)),
    ("types", ("type-", "event-")),
    ("retry", ("retry-",)),
    ("data", ("data-", "two-", "three-", "empty-", "one-")),
)


def group(name):
    fits = (words for words, starts in GROUPS if name.startswith(starts))
    return next(fits, "others")


def main(*files):
    for kind in ("decoding", "encoding", "resuming"):
        schema = json.loads((FOLDER / "schema" / f"{kind}.json").read_text("utf-8"))
        for file in (FOLDER / "vectors" / kind).glob("*.json"):
            jsonschema.validate(json.loads(file.read_text("utf-8")), schema)
    rows = [row for file in files for row in json.loads(Path(file).read_text("utf-8"))]
    print("| parser | of | agrees | differs | in |\n|---|---|--:|--:|---|")
    for row in sorted(rows, key=lambda row: (len(row["differs"]), row["name"])):
        names = [line.split(":")[0] for line in row["differs"]]
        counts = {words: sum(group(name) == words for name in names) for words, _ in (*GROUPS, ("others", ()))}
        words = ", ".join(f"{words} {count}" for words, count in counts.items() if count)
        print(f"| {row['name']} | {row['of']} | {row['count'] - len(names)} | {len(names)} | {words} |")


main(*sys.argv[1:])
