#!/usr/bin/env node
// Runs an implementation of Server-Sent Events through the cases of this package.
//
//     npx sse-vectors decode ./adapter.mjs   // export decode(chunks[, lastEventId]): events
//     npx sse-vectors encode ./adapter.mjs   // export encode(fields): bytes; throws if it refuses
//
// An event is { event, data, id }; `id` is the last event ID in force. Without it ids are not
// compared. Both functions may be asynchronous. For `resume` take the package of PyPI.
import { readFileSync, readdirSync, realpathSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

const FOLDER = new URL('./vectors/', import.meta.url);

/** All cases of `decoding`, `encoding` or `resuming`. */
export function cases(kind) {
  const folder = new URL(`${kind}/`, FOLDER);
  const files = readdirSync(folder).sort();
  return files.flatMap((file) => JSON.parse(readFileSync(new URL(file, folder), 'utf8')).cases);
}

/** Whole, in single bytes, and cut in two at every place. */
export function* chunkings(stream) {
  yield [stream];
  yield Array.from(stream, (_, at) => stream.slice(at, at + 1));
  for (let at = 1; at < stream.length; at += 1) yield [stream.slice(0, at), stream.slice(at)];
}

/** Whether the events are those that are expected, as far as they say. */
export function same(expected, found) {
  const fits = (event, at) =>
    found[at].event === event.event && found[at].data === event.data && (found[at].id ?? event.id) === event.id;
  return expected.length === found.length && expected.every(fits);
}

/** What differs, a line for each case; and how many cases there were. */
export async function decoding(decode) {
  const differs = [];
  const all = cases('decoding').filter(
    (one) => !one.limits && !one.comments && (!one.last_event_id || decode.length > 1),
  );
  for (const { name, steps, last_event_id: seed = '' } of all) {
    const stream = Uint8Array.from(steps.map((step) => step.bytes).join(''), (char) => char.charCodeAt(0));
    const expected = steps.flatMap((step) => step.expect).filter((item) => 'event' in item);
    for (const chunks of chunkings(stream)) {
      const found = await Promise.resolve().then(() => decode(chunks, seed)).catch(String);
      if (typeof found !== 'string' && same(expected, found)) continue;
      const shown = chunks.map((chunk) => JSON.stringify(String.fromCharCode(...chunk)));
      differs.push(`${name}: ${shown.join(' + ')} gave ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`);
      break;
    }
  }
  return { differs, count: all.length };
}

/** The same for an encoder. */
export async function encoding(encode) {
  const { decode } = await import('./reference.mjs');
  const differs = [];
  const all = cases('encoding');
  for (const { name, fields, outcomes, may_refuse: mayRefuse } of all) {
    let bytes;
    try {
      bytes = await encode(fields);
    } catch (error) {
      if (!mayRefuse) differs.push(`${name}: refused: ${error}`);
      continue;
    }
    const found = decode([typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes]);
    if (outcomes.some((outcome) => same(outcome, found))) continue;
    differs.push(`${name}: ${JSON.stringify(String(bytes))} is ${JSON.stringify(found)}, not ${JSON.stringify(outcomes)}`);
  }
  return { differs, count: all.length };
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [kind, path] = process.argv.slice(2);
  const adapter = await import(pathToFileURL(path));
  const { differs, count } = await (kind === 'encode' ? encoding(adapter.encode) : decoding(adapter.decode));
  console.log([...differs, `${count - differs.length} of ${count} cases agree`].join('\n'));
  process.exitCode = differs.length > 0 ? 1 : 0;
}
