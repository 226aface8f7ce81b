// A server of event streams in nothing but Node, and the verdict of a command on it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const server = createServer((request, response) => {
  const type = request.url === '/events' ? 'text/event-stream' : 'text/html';
  response.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-store' });
  if (type === 'text/html') return response.end();
  let number = Number(request.headers['last-event-id'] ?? 0);
  const events = setInterval(() => {
    number += 1;
    response.write(`id: ${number}\ndata: event ${number}\n\n`);
  }, 100);
  response.on('close', () => clearInterval(events));
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');

async function probed(path) {
  const url = `http://127.0.0.1:${server.address().port}${path}`;
  const checks = ['con.status', 'con.type', 'fmt', '--wait', '3', '--json', 'report.json'];
  const [program, ...words] = process.argv.slice(2);
  const child = spawn(program, [...words, 'probe', url, ...checks], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'exit');
  const report = JSON.parse(readFileSync('report.json', 'utf8'));
  return [code, Object.fromEntries(report.checks.map(({ id, verdict }) => [id, verdict]))];
}

const [code, checks] = await probed('/events');
assert.equal(code, 0, `a good server gets ${code}: ${JSON.stringify(checks)}`);
assert.equal(checks['con.type'], 'pass');
assert.equal(checks['fmt.utf8'], 'pass');
assert.equal((await probed('/page'))[0], 3, 'a page is no stream');
console.log('npx has a verdict on a server in Node');
server.closeAllConnections();
server.close();
