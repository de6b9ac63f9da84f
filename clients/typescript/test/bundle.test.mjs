// The file that Relais serves as `/v1/client.js`.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { bundled, PLACE } from '../bundle.mjs';

test('the file in the server is what the sources make, and so are its compressed forms', async () => {
  const written = fs.readFileSync(PLACE, 'utf8');
  const again = 'run `npm run bundle` in clients/typescript, or `cargo xtask docs`';
  assert.ok(written === (await bundled()), again);
  assert.ok(gunzipSync(fs.readFileSync(`${PLACE}.gz`)).toString() === written, again);
  assert.ok(brotliDecompressSync(fs.readFileSync(`${PLACE}.br`)).toString() === written, again);
});

test('a page that may call no `eval` can have it, and nothing of it is fetched later', () => {
  const written = fs.readFileSync(PLACE, 'utf8');
  assert.doesNotMatch(written, /\beval\(|new Function|\bimport\(|innerHTML|setAttribute\("style"/);
});

test('it has at most 15 kB compressed', () => {
  const { size } = fs.statSync(`${PLACE}.br`);
  assert.ok(size <= 15_000, `${size} bytes`);
});
