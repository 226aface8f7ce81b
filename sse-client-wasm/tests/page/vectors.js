// The conformance cases of sse-proto, through a whole source.

import { EventSource } from '/package/external.js';
import { equal, test, until } from '/page/tests.js';

const FILES = [
  'bom', 'comments', 'data', 'dialects', 'end-of-stream', 'fields', 'id', 'line-endings', 'retry', 'utf8',
];

const bytes = (text) => Uint8Array.from(text, (char) => char.charCodeAt(0));

for (const file of FILES) {
  test(`vectors/${file}.json`, async () => {
    const { cases } = await (await fetch(`/vectors/${file}.json`)).json();
    let run = 0;
    for (const { name, steps, limits, last_event_id, final_last_event_id } of cases) {
      // The limits are not for pages to set.
      if (limits) continue;
      const stream = new ReadableStream({
        start(controller) {
          for (const step of steps) controller.enqueue(bytes(step.bytes));
          controller.close();
        },
      });
      const source = EventSource.fromReadableStream(stream, { lastEventId: last_event_id });
      const found = [];
      source.onevent = ({ type, data, lastEventId }) => found.push([type, data, lastEventId]);
      await until(name, () => source.readyState === 2);
      const expected = steps.flatMap((step) => step.expect);
      const events = expected.filter((one) => 'data' in one);
      // The id of a `stream-error` is none to resume from, and is not told.
      const id = (one) => (one.event === 'stream-error' && one.id === 'error' ? '' : one.id);
      equal(found, events.map((one) => [one.event, one.data, id(one)]), name);
      const retry = expected.filter((one) => 'retry' in one).at(-1)?.retry;
      if (retry !== undefined) equal(Math.round(source.reconnectionTime / 1e9), Math.round(retry / 1e9), name);
      if (!found.some(([type]) => type === 'stream-error')) equal(source.lastEventId, final_last_event_id ?? '', name);
      run++;
    }
    if (!run) throw new Error('no case has been run');
  });
}
