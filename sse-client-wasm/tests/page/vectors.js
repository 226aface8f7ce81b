// The conformance cases of sse-proto, through a whole source.

import { EventSource } from '/package/external.js';
import { equal, test, until } from '/page/tests.js';

const FILES = [
  'bom', 'comments', 'data', 'dialects', 'end-of-stream', 'event-limit', 'fields', 'id', 'line-endings', 'line-limit',
  'retry', 'utf8',
];

const bytes = (text) => Uint8Array.from(text, (char) => char.charCodeAt(0));

// What is dropped is told there.
let warnings = 0;
console.warn = () => { warnings++; };

for (const file of FILES) {
  test(`vectors/${file}.json`, async () => {
    const { cases } = await (await fetch(`/vectors/${file}.json`)).json();
    let run = 0;
    for (const { name, steps, limits, last_event_id, final_last_event_id } of cases) {
      const stream = new ReadableStream({
        start(controller) {
          for (const step of steps) controller.enqueue(bytes(step.bytes));
          controller.close();
        },
      });
      const source = EventSource.fromReadableStream(stream, {
        lastEventId: last_event_id,
        maxEventLength: limits?.event,
        maxLineLength: limits?.line,
      });
      const found = [];
      warnings = 0;
      source.onevent = ({ type, data, lastEventId }) => found.push([type, data, lastEventId]);
      await until(name, () => source.readyState === 2);
      const expected = steps.flatMap((step) => step.expect);
      const events = expected.filter((one) => 'data' in one);
      // The id of a `stream-error` is none to resume from, and is not told.
      const id = (one) => (one.event === 'stream-error' && one.id === 'error' ? '' : one.id);
      equal(found, events.map((one) => [one.event, one.data, id(one)]), name);
      equal(warnings, expected.filter((one) => 'error' in one).length, `${name}: what was too long`);
      const retry = expected.filter((one) => 'retry' in one).at(-1)?.retry;
      if (retry !== undefined) equal(Math.round(source.reconnectionTime / 1e9), Math.round(retry / 1e9), name);
      if (!found.some(([type]) => type === 'stream-error')) equal(source.lastEventId, final_last_event_id ?? '', name);
      run++;
    }
    if (!run) throw new Error('no case has been run');
  });
}
