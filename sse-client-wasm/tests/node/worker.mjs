// The package in workerd: answers `/read` with what it has read from the stream that the query
// names, and `/moved` with what another origin has seen of its requests.

import { ReconnectingEventSource, events } from 'sse-client-wasm';

const read = async (url, options) => {
  const found = [];
  try {
    for await (const { data } of events(url, options)) found.push(data);
  } catch (error) {
    found.push(error.status?.reason ?? error.stack);
  }
  return found;
};

const answers = {
  async read(url) {
    const found = await read(url, { until: '[DONE]' });
    const source = new ReconnectingEventSource(url);
    found.push(await new Promise((resolve, reject) => {
      source.onmessage = ({ data }) => resolve(data);
      source.onerror = ({ status }) => reject(new Error(status.reason + status.cause));
    }));
    source.close();
    return found;
  },
  async moved(here) {
    const secrets = { 'X-Api-Key': 'k', Authorization: 'Bearer t', 'X-Last-Id': 'my own' };
    const got = await read(`${here}/s/found`, { headers: secrets, policy: 'once', lastEventId: '7' });
    const kept = await read(`${here}/s/kept`, { headers: secrets, body: 'secret' });
    const source = new ReconnectingEventSource(`${here}/s/resumed`, { max_retry_time: 1 });
    for (let count = 0; count < 2; count++) await new Promise((resolve) => { source.onmessage = resolve; });
    source.close();
    const log = async (name) => (await fetch(`${here}/log/${name}`)).json();
    const seen = (await log('there')).map(({ method, headers, body }) =>
      [method, headers['x-api-key'], headers.authorization, headers['last-event-id'], body]);
    const [, { target, headers }] = await log('resumed');
    return { got, kept, seen, resumed: [target, headers['last-event-id']] };
  },
};

export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    try {
      return Response.json(await answers[pathname.slice(1)](searchParams.get('url')));
    } catch (error) {
      return Response.json(error.stack);
    }
  },
};
