// The tests of the client in TypeScript (clients/typescript/test), against this Relais and in both browsers. Builds it first.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { run } from 'node:test';
import { fileURLToPath } from 'node:url';
import { check, verdict } from './peer.mjs';

const client = fileURLToPath(new URL('../../clients/typescript', import.meta.url));
fs.rmSync(path.join(client, 'dist'), { recursive: true, force: true });
execFileSync('npm', ['run', '--silent', 'build'], { cwd: client, stdio: 'inherit' });

const tests = path.join(client, 'test');
const files = fs.readdirSync(tests).filter((name) => name.endsWith('.test.mjs')).map((name) => path.join(tests, name));
for await (const { type, data } of run({ files, concurrency: 2 })) {
  const { error } = data.details ?? {};
  if (type === 'test:pass') check(true, data.name);
  if (type === 'test:fail') check(false, `${data.name}: ${error?.cause?.stack ?? error?.message}`);
}
verdict();
