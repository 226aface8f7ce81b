// A decoder and an encoder: what users of the package have, in few lines.
export { decode } from 'sse-vectors/reference';

export function encode({ event, id, data }) {
  if (/[\r\n\0]/.test(`${event ?? ''}${id ?? ''}`)) throw new TypeError('type and id are one line, without NUL');
  const fields = [event && `event: ${event}`, id !== undefined && `id: ${id}`].filter(Boolean);
  return [...fields, ...data.split(/\r\n|\r|\n/).map((line) => `data: ${line}`), '', ''].join('\n');
}
