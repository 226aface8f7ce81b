// Bodies in content codings. Platforms decode them, but of a list with a name that they do not
// know, `identity` among them, most decode nothing, and the head does not tell what was done. The
// first byte tells, and what is left is decoded here.

import { CodingError, bytes, type ReaderOf } from './request.js';

/** Lists that each platform decodes. */
const DECODED = /^(\s*((x-)?gzip|deflate|br)\s*(,(?=.)|$))+$/i;

/** How the text of a stream begins: with a field, a comment, a line end or a byte order mark. */
const STREAM = /[deir:\n\r\xef]/;

/** How other text begins: not as what is coded in `gzip`, `zstd` or `deflate`. */
const TEXT = /[^\x1f(x]/;

/** What some servers say of bodies that have no coding, as in the native client. */
const NONE = /^(identity|none|utf-?8)?$/i;

/** How a body in `gzip` begins, and no text. */
const GZIP = 31;

/** A coding that is named twice. */
const TWICE = /\b(gzip|deflate|br)\b.*\b\1\b/i;

export const decoding: ReaderOf = ({ headers, body }, isText) => {
  // No platform decodes these, nor tells.
  const [transfer] = /\b(?!chunked|identity)[-\w]+/i.exec(headers.get('Transfer-Encoding') ?? '') ?? [];
  if (transfer) throw new CodingError(transfer);
  let codings = headers.get('Content-Encoding');
  const names = (codings ?? '').toLowerCase().split(/[\s,]+/);
  if (names.every((name) => NONE.test(name))) codings = null;
  // Mostly a proxy has said again what its origin has said, and the body is coded once. Then some
  // versions of Node never end the body, and browsers take it for a failure of the network.
  const [twice] = TWICE.exec(codings ?? '') ?? [];
  if (twice) throw new CodingError(twice);
  let reader: ReturnType<ReaderOf> = body!.getReader();
  return {
    cancel: (why) => reader.cancel(why),
    async read() {
      const chunk = await reader.read();
      if (!codings || !chunk.value?.byteLength) return chunk;
      const [byte] = bytes(chunk.value);
      const isDecoded =
        byte !== GZIP && (DECODED.test(codings) || (isText ? TEXT : STREAM).test(String.fromCharCode(byte)));
      codings = null;
      if (isDecoded) return chunk;
      reader = decoded(chunk.value, reader, names).getReader();
      return reader.read();
    },
  };
};

/** The rest of a body that begins so, without its codings, of which the last was applied last. */
const decoded = (first: any, rest: ReturnType<ReaderOf>, codings: string[]): ReadableStream =>
  codings.reduceRight<ReadableStream>((body, name) => {
    if (NONE.test(name)) return body;
    let decoder;
    try {
      decoder = new DecompressionStream(name.replace('x-', '') as CompressionFormat);
    } catch {
      throw new CodingError(name);
    }
    return body.pipeThrough(decoder);
  }, new ReadableStream({
    start: (to) => to.enqueue(first),
    pull: (to) => rest.read().then(({ done, value }) => (done ? to.close() : to.enqueue(value))),
    cancel: (why) => rest.cancel(why),
  }));
