"""A decoder that does what the standard says, step by step: slow, and right in every case."""


def decode(chunks, last_event_id=""):
    """The events of a stream in UTF-8 (HTML, 9.2.5 and 9.2.6)."""
    text = b"".join(chunks).decode("utf-8", "replace").removeprefix("\ufeff")
    # Each line ends with CRLF, CR or LF; what no line end follows is not a line.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    data, kind, id_buffer = "", "", last_event_id
    for line in lines:
        if not line:
            last_event_id = id_buffer
            if data:
                yield {"event": kind or "message", "data": data.removesuffix("\n"), "id": last_event_id}
            data, kind = "", ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data += value + "\n"
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            id_buffer = value
