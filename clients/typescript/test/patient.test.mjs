// Elements whose server is away for longer than their patience, in both browsers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachBrowser } from '../../../tests/peers/browsers.mjs';
import { site } from './site.mjs';

test('an element that has given up goes on by itself once its server is there again', async (context) => {
  const { base, front, worker, stop } = await site();
  context.after(stop);
  await eachBrowser(async (page, { name }) => {
    await page.go(base);
    await page.run(async (queue) => {
      const { Relais } = await import('/client/dist/index.js');
      await import('/client/dist/elements/index.js');
      // A client that gives up with the second failure.
      const relais = new Relais({ patience: 0 });
      const element = document.createElement('relais-task');
      window.told = [];
      for (const type of ['relais-change', 'relais-error', 'relais-end']) {
        element.addEventListener(type, ({ detail }) => window.told.push(detail.name ?? type));
      }
      element.task = await relais.submit({ queue, input: 1 });
      document.body.append(element);
    }, name);
    await page.until(() => window.told.includes('relais-change'));
    front.close(true);
    await page.until(() => window.told.includes('Unreachable'));
    await page.run(() => window.told.splice(0));
    front.close(false);
    await page.run(() => dispatchEvent(new Event('online')));
    await page.until(() => window.told.includes('relais-change'));
    const hands = worker(name);
    await hands.succeed(await hands.lease(), 1);
    await page.until(() => window.told.includes('relais-end'));
    const trouble = await page.run(() => document.querySelector('relais-task').shadowRoot.querySelector('.refused').textContent);
    assert.equal(trouble, '', name);
  });
});
