#!/usr/bin/env node
// Runs the program, which lies in the package of this platform, as if it had been called itself.
'use strict';

const { spawn } = require('node:child_process');

const platform = `${process.platform}-${process.arch}`;
const name = process.platform === 'win32' ? 'sse-fuzz.exe' : 'sse-fuzz';
let program;
try {
  program = require.resolve(`@ssekit/sse-fuzz-${platform}/${name}`);
} catch {
  console.error(
    `sse-fuzz: there is no program for ${platform}: npm has not installed @ssekit/sse-fuzz-${platform} (with ` +
      '--omit=optional it does not), or there is none; `cargo install ssekit-fuzz` builds one',
  );
  process.exit(2);
}

const child = spawn(program, process.argv.slice(2), { stdio: 'inherit' });
// Ctrl-C goes to both; the program's end is ours.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => child.kill(signal));
}
child.on('error', (error) => {
  console.error(`sse-fuzz: cannot start ${program}: ${error.message}`);
  process.exit(2);
});
child.on('exit', (code, signal) => {
  if (signal === null) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
