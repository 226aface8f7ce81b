// What each parser of npm makes of the vectors: a list as JSON, on standard output.
import { createRequire } from 'node:module';
import { decoding } from 'sse-vectors';
import { parsers } from './npm.mjs';

const { dependencies } = createRequire(import.meta.url)('./package.json');
const rows = [];
for (const [name, decode] of Object.entries(parsers)) {
  const { differs, count } = await decoding(decode);
  rows.push({ name: `${name} ${dependencies[name]}`, of: 'npm', count, differs });
}
console.log(JSON.stringify(rows));
// Some have timers left.
process.exit();
