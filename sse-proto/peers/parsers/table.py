"""What each parser of PyPI makes of the vectors: a list as JSON, on standard output."""

import json
from importlib.metadata import version

import pypi
import sse_vectors

rows = []
for name, decode in pypi.PARSERS.items():
    differs, count = sse_vectors.decoding(decode)
    rows.append({"name": f"{name} {version(name)}", "of": "PyPI", "count": count, "differs": differs})
print(json.dumps(rows))
