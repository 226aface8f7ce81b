// Prints how large files are: raw, with gzip -9 and with brotli 11, each line one file, then their
// sum.

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const sizes = process.argv.slice(2).map((path) => {
  const bytes = readFileSync(path);
  return [basename(path), bytes.length, gzipSync(bytes, { level: 9 }).length, brotliCompressSync(bytes).length];
});
const sum = (column) => sizes.reduce((total, size) => total + size[column], 0);
for (const [name, ...numbers] of [...sizes, ['sum', sum(1), sum(2), sum(3)]]) {
  console.log([name.padEnd(40), ...numbers.map((number) => String(number).padStart(8))].join(''));
}
