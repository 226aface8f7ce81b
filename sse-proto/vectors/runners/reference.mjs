// A decoder that does what the standard says, step by step: slow, and right in every case.

/** The events of a stream in UTF-8 (HTML, 9.2.5 and 9.2.6). */
export function decode(chunks, before) {
  // It drops one byte order mark.
  const utf8 = new TextDecoder();
  const text = chunks.map((chunk) => utf8.decode(chunk, { stream: true })).join('') + utf8.decode();
  const events = [];
  let lastEventId = before ?? '';
  let [data, event, id] = ['', '', lastEventId];
  // Each line ends with CRLF, CR or LF; what no line end follows is not a line.
  for (const line of text.split(/\r\n|\r|\n/).slice(0, -1)) {
    if (line === '') {
      lastEventId = id;
      if (data !== '') events.push({ event: event || 'message', data: data.slice(0, -1), id: lastEventId });
      [data, event] = ['', ''];
      continue;
    }
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') data += `${value}\n`;
    else if (name === 'event') event = value;
    else if (name === 'id' && !value.includes('\0')) id = value;
  }
  return events;
}
