// The package in workerd: answers each request with what it has read from the stream that the query
// names.

import { ReconnectingEventSource, events } from 'sse-client-wasm';

export default {
  async fetch(request) {
    const url = new URL(request.url).searchParams.get('stream');
    const found = [];
    try {
      for await (const { data } of events(url, { until: '[DONE]' })) found.push(data);
      const source = new ReconnectingEventSource(url);
      found.push(await new Promise((resolve, reject) => {
        source.onmessage = ({ data }) => resolve(data);
        source.onerror = ({ status }) => reject(new Error(status.reason + status.cause));
      }));
      source.close();
    } catch (error) {
      found.push(error.stack);
    }
    return Response.json(found);
  },
};
