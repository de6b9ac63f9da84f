// The page of the example shop, in two browsers, through Relais: every way of being told ends with the same answer, also where
// the page is left, its tab closed, or Relais killed in the middle; so does the answer that comes word by word. The form needs
// no scripts, and all of it is accessible (axe-core). Times are printed, and nothing is asserted of them.
//
// With SHOTS=docs/guide/img it takes the pictures of the guide instead.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { eachBrowser } from './browsers.mjs';
import { check, require, shop, verdict } from './peer.mjs';

const FOLLOWING = ['poll', 'long-poll', 'sse', 'websocket'];
const example = new URL('../../examples/shop/', import.meta.url);
const answers = (name) => fs.readFileSync(new URL(`page/answers/${name}.txt`, example), 'utf8').trim();
// Five seconds an import, long enough to be left in the middle.
const stage = await shop({ lineUs: 200 });
const program = path.join(path.dirname(process.env.RELAIS), 'shop');
// The sample, and what its import brings when nobody disturbs it.
const SMALL = 'samples/products.csv?lines=2000';
const brings = async (sample) => {
  const input = Buffer.from(await (await fetch(`${stage.url}/${sample}`)).arrayBuffer());
  return JSON.parse(execFileSync(program, ['import', '--delay-us', '0'], { input }));
};
const expected = await brings('samples/products.csv');
const measured = [];

const run = (page) => page.run(() => JSON.parse(localStorage.getItem('shop.import')));
const isReady = () => document.querySelector('#start')?.disabled === false;
const inShop = async (page, target = '/') => {
  await page.go(stage.base + target);
  await page.until(isReady);
};
// Presses the button, and is back once the ticket is there and the page shows that the work has begun.
async function handIn(page) {
  await page.until(isReady);
  const before = (await run(page))?.begun ?? 0;
  await page.click('#start');
  await page.until((old) => {
    const kept = JSON.parse(localStorage.getItem('shop.import'));
    return kept?.begun > old && kept.task && Object.values(kept.ways).some((way) => way.percent > 0);
  }, before, 60_000);
}
// What each way has seen in the end, and its counts.
async function ended(page) {
  await page.until(() => {
    const kept = JSON.parse(localStorage.getItem('shop.import'));
    return kept.settled && Object.values(kept.ways).every((way) => way.seen);
  }, undefined, 90_000);
  return run(page);
}
// A worker that lost its lease in a restart goes on at a checkpoint, and says so in its result.
const plain = ({ resumed_at: _, ...answer } = {}) => JSON.stringify(answer);
function holdsSame(kept, what) {
  for (const name of FOLLOWING) {
    const { answer, problem } = kept.ways[name];
    check(plain(answer) === plain(expected), `${what}: ${name} has the answer: ${problem ?? plain(answer)}`);
  }
}
const requests = (kept) => Object.fromEntries(Object.entries(kept.ways).map(([name, way]) => [name, way.requests]));

async function axe(page) {
  const source = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
  await page.inner.evaluate(source);
  return page.run(async () => (await globalThis.axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`));
}
async function holdsAccessible(page, what) {
  const found = await axe(page);
  check(found.length === 0, `no violation: ${what}: ${found.join('\n')}`);
}

async function sideBySide(page, browser) {
  await handIn(page);
  const midway = await page.text('#told');
  check(midway === 'Handed in. Leave whenever you like.', `the hand is given back: ${midway}`);
  const kept = await ended(page);
  holdsSame(kept, 'side by side');
  check(plain(kept.ways.sync.answer) === plain(expected), 'the call that waited has the same answer');
  const count = requests(kept);
  check(count.sync === 1 && count['long-poll'] === 1, `one question each: ${JSON.stringify(count)}`);
  check(count.sse === 1 && count.websocket === 1, `one connection each: ${JSON.stringify(count)}`);
  check(count.poll >= 2, `the poll asked in vain, too: ${JSON.stringify(count)}`);
  const shown = await page.run(() => [...document.querySelectorAll('[data-figure="requests"]')].map((one) => Number(one.textContent)));
  check(shown.join() === Object.values(count).join(), `what is shown is what was counted: ${shown}`);
  // By the browser's clock: each question stood long before the last event came, and was the last.
  const end = kept.ways.sse.marks.filter(([kind]) => kind === 'news').at(-1)[1];
  const asked = ['long-poll', 'sse', 'websocket'].flatMap((name) => kept.ways[name].marks.filter(([kind]) => kind === 'open'));
  check(asked.length === 3 && asked.every(([, from]) => from < end), `nothing is asked after the end: ${JSON.stringify(asked)}, ${end}`);
  const { bytes } = kept.ways.sync;
  check(kept.ways.sse.bytes > bytes && kept.ways.websocket.bytes > bytes, 'who is told of progress receives more');
  await page.untilSaid('24,975 products imported, 25 lines refused. 4 of 4 ways have seen it.');
  measured.push(figuresOf(browser.name, kept));
}

// What a click does is shown before anything is sent, and whatever becomes of it.
async function feedbackFirst(page) {
  await page.run(() => {
    const real = window.fetch;
    window.fetch = async (input, init) => {
      if (input !== 'imports') return real(input, init);
      window.fetch = real;
      window.shown = document.querySelector('#told').textContent;
      await new Promise((go) => { window.send = go; });
      return real(input, init);
    };
  });
  await page.click('#start');
  const shown = await page.until(() => window.shown);
  check(shown === 'The file is on its way…', `it was shown before: ${shown}`);
  await page.until(() => document.querySelector('[data-step="clicked"].done')?.textContent.includes('first feedback'));
  await page.run(() => window.send());
  await page.untilSaid('Handed in.');
}

// What ways do where all went otherwise: an answer that was not held back, and a log whose end was seen before.
async function waysAside(page) {
  const { task, ways } = await run(page);
  const said = await page.run(async ([followed, after]) => {
    const [{ longPoll }, { sse }, { websocket }, { Meter }] = await Promise.all(
      ['way-long-poll', 'way-sse', 'way-websocket', 'meter'].map((name) => import(`/assets/${name}.js`)));
    const { signal } = new AbortController();
    const states = [];
    const answers = [{ status: 202 }, { status: 200 }];
    await longPoll(followed, { signal, stands: (state) => states.push(state), ask: async () => answers.shift() });
    const found = await Promise.all([sse, websocket].map((way) => way(followed, new Meter({ requests: 0, bytes: 0, marks: [], after }, signal, () => {}))));
    // An older import, and one that is behind, write nothing over a newer one.
    const { keep, load } = await import('/assets/run.js');
    const kept = load();
    keep({ ...kept, begun: kept.begun - 1 });
    keep({ ...kept, ways: { ...kept.ways, sse: {} } });
    return { states, found: found.map(({ status }) => status), isKept: load().begun === kept.begun && load().ways.sse.seen > 0 };
  }, [task, ways.sse.after]);
  check(said.states.join() === 'held,again,held', `what is not held is asked later: ${said.states}`);
  check(said.found.join() === '200,200', `what is over is fetched: ${said.found}`);
  check(said.isKept, 'of two tabs the newer import, and the one that has seen more, is kept');
}

// Where a browser lets nothing be kept all works, until the page is left.
async function keepsNothing(page) {
  const forbid = () => Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });
  await (page.inner.addInitScript?.(forbid) ?? page.inner.evaluateOnNewDocument(forbid));
  await inShop(page, '/?lang=en');
  await page.click('#start');
  await page.untilSaid('4 of 4 ways have seen it.', 90_000);
  await page.click('[data-idea]:nth-child(3)');
  await page.until((whole) => document.querySelector('#talk .shop')?.textContent === whole && !document.querySelector('#send').disabled, answers('fails.en'), 60_000);
}

// What Relais brings: the element, and the tray of all that this browser has handed in.
async function brought(page, browser) {
  const { task } = await run(page);
  await page.until((id) => {
    const { document: shown, shadowRoot } = document.querySelector('relais-task');
    return shown?.terminal && shown.id === id && shadowRoot.textContent.includes('Import of 25,000 products');
  }, task.id);
  const target = await page.run(() => {
    const link = document.querySelector('relais-task').shadowRoot.querySelector('a[href*="/result"]');
    document.addEventListener('click', (event) => event.preventDefault(), { once: true });
    link.click();
    return link.target;
  });
  check(target === '_blank', `the answer opens beside the shop: ${target}`);
  await page.run(() => document.querySelector('relais-tray').shadowRoot.querySelector('.toggle').click());
  await page.until((id) => document.querySelector('relais-tray').shadowRoot.querySelector('li relais-task')?.document?.id === id, task.id);
  await holdsAccessible(page, `the tray is open (${browser.name})`);
  await page.click('h1');
  await page.go(`${stage.base}/v1/session`);
  const links = await page.run(() => [...document.querySelectorAll('main li a')].map((link) => link.pathname));
  check(links.includes(new URL(task.links.self).pathname), `it is in the list of this browser's requests: ${links}`);
  await inShop(page);
}

const ms = (value) => `${Math.round(value)} ms`;
function figuresOf(browser, kept) {
  const seen = FOLLOWING.map((name) => [name, ms(kept.ways[name].seen + kept.skew - kept.settled)]);
  return { browser, 'first feedback': ms(kept.feedback), ticket: ms(kept.ticket - kept.begun), ...Object.fromEntries(seen) };
}

async function leftAndBack(page, browser) {
  await handIn(page);
  await page.click('.leave a');
  await page.until(() => location.pathname === '/elsewhere' && document.readyState === 'complete');
  await page.click('#back');
  await page.until(isReady);
  await page.untilSaid('Welcome back.');
  const lost = await page.text('[data-way="sync"] .state');
  check(lost.startsWith('Lost:'), `whoever waited has lost the answer: ${lost}`);
  const left = await run(page);
  await page.reload();
  await page.until(isReady);
  const kept = await ended(page);
  check(kept.task.id === left.task.id, 'it is the task that was left');
  holdsSame(kept, 'left and back');
  check(kept.ways.sse.requests >= 2 && kept.ways.websocket.requests >= 2, `they connected again: ${JSON.stringify(requests(kept))}`);
  // Closed in the middle, and another tab is opened once all is over.
  await handIn(page);
  const { task } = await run(page);
  const tab = await browser.tab();
  await tab.go(`${stage.base}/elsewhere`);
  await page.close();
  await until(async () => (await (await fetch(task.links.self)).json()).terminal);
  await tab.until(() => document.querySelector('relais-tray').shadowRoot.querySelector('.toast')?.textContent.includes('Request to /imports'));
  await holdsAccessible(tab, `an end is told in the catalogue (${browser.name})`);
  await inShop(tab);
  const later = await ended(tab);
  check(later.task.id === task.id, 'another tab finds the task that was left');
  holdsSame(later, 'closed and opened');
  await tab.untilSaid('after your return');
  return tab;
}

async function until(is) {
  for (const end = Date.now() + 60_000; Date.now() < end; await pause(50)) {
    if (await is()) return;
  }
  throw new Error('never');
}

async function killedMidway(page) {
  await handIn(page);
  await stage.restart();
  const kept = await ended(page);
  holdsSame(kept, 'killed midway');
  const count = requests(kept);
  check(count['long-poll'] >= 2 && count.sse >= 2 && count.websocket >= 2, `each came back: ${JSON.stringify(count)}`);
  check(kept.ways.sync.isLost, 'and the call that waited was cut off');
}

async function erasedMidway(page) {
  await handIn(page);
  const { task } = await run(page);
  const erased = await fetch(`${stage.base}/v1/tasks/${task.id}?cancel=true`, { method: 'DELETE' });
  check(erased.ok, `it is erased: ${erased.status}`);
  // Of when it ended nobody may be told: whoever asks later finds nothing.
  await page.until(() => Object.values(JSON.parse(localStorage.getItem('shop.import')).ways).every((way) => way.seen), undefined, 90_000);
  const kept = await run(page);
  for (const name of FOLLOWING) check(kept.ways[name].problem && !kept.ways[name].answer, `${name} is told that there is no answer`);
  await page.untilSaid('The import has failed: ');
  check(!(await page.text('#told')).includes('[object'), `and why: ${await page.text('#told')}`);
}

// The lines that the page shows do what they say.
async function codeShown(page) {
  const code = await page.run(() => Object.fromEntries([...document.querySelectorAll('.way[data-way] code:not(.way p code)')].map((one) => [one.closest('.way').dataset.way, one.textContent])));
  check(Object.keys(code).length === 5, `each way has its lines: ${Object.keys(code)}`);
  const submit = (await page.run(() => document.querySelector('.code.first pre code').textContent)).replace('samples/products.csv', SMALL);
  const small = await brings(SMALL);
  const word = await page.run(() => document.querySelector('#element ~ .code .snippet:last-child code').textContent);
  code.word = word.replace(/^import (.*) from (.*);/, 'const $1 = await import($2);');
  for (const [name, lines] of Object.entries(code)) {
    const said = await page.inner.evaluate(`(async () => {
      const pause = (ms) => new Promise((done) => setTimeout(done, ms));
      const bar = () => {};
      const { promise, resolve: show } = Promise.withResolvers();
      ${submit}
      ${lines}
      return promise;
    })()`);
    check(plain(said) === plain(small), `the lines of ${name} work`);
  }
}

async function talks(page, answer) {
  const whole = answers(answer);
  const last = () => page.run(() => document.querySelector('#talk').lastElementChild?.textContent ?? '');
  const comes = async (from) => page.until((length) => document.querySelector('#talk').lastElementChild?.textContent.length > length, from);
  const ends = async (what) => {
    await page.until((length) => document.querySelector('#talk').lastElementChild?.textContent.length >= length, whole.length, 60_000);
    await page.until(() => !document.querySelector('#send').disabled);
    check((await last()) === whole, `no letter is lost or doubled: ${what}: ${await last()}`);
  };
  await page.click('[data-idea]:nth-child(3)');
  await comes(40);
  const before = await last();
  check(whole.startsWith(before) && before.length < whole.length, `it comes bit by bit: ${before}`);
  await page.reload();
  await comes(before.length);
  await ends('loaded again');
  await page.reload();
  await page.until(() => document.querySelector('#talk .shop') !== null);
  check((await last()) === whole, 'and it is still there');
  await page.click('[data-idea]:nth-child(3)');
  await comes(40);
  await stage.restart();
  await ends('killed midway');
  await page.click('[data-idea]:nth-child(1)');
  await comes(10);
  await page.click('#stop');
  await page.until(() => document.querySelector('#talk .problem') !== null);
  await page.until(() => !document.querySelector('#send').disabled);
  // Stopped before it has begun, it is called off once its head says by what.
  const hold = () => page.run(() => {
    const real = window.fetch;
    window.fetch = async (input, init) => {
      if (String(input).includes('/cancel')) window.canceled = true;
      if (input !== 'assistant') return real(input, init);
      const answer = await real(input, init);
      window.isHeld = true;
      await new Promise((go) => { window.go = go; });
      return answer;
    };
  });
  await hold();
  await page.click('[data-idea]:nth-child(3)');
  await page.until(() => window.isHeld);
  await page.click('#stop');
  await page.run(() => window.go());
  await page.until(() => window.canceled && !document.querySelector('#send').disabled);
  // Left before it has begun, it is asked again by its key, and read.
  await page.run(() => { window.isHeld = false; });
  await page.click('[data-idea]:nth-child(3)');
  await page.until(() => window.isHeld);
  await page.reload();
  await ends('left before it had begun');
}

async function inFrench(page) {
  await page.click('nav .language');
  await page.until(() => document.documentElement?.lang === 'fr' && document.querySelector('#start')?.disabled === false);
  check((await page.text('h1')) === 'Un travail lent, sans attendre', 'the switch leads to French');
  check((await page.text('[data-way="poll"] h3')) === 'Polling', 'and names stay');
  // The figures of before are there again, in French.
  await page.until(() => /24\s975 importés, 25 refusés/.test(document.body.innerText));
}

async function formAlone(page, language) {
  await page.go(`${stage.base}/`);
  const before = (await (await fetch(`${stage.url}/orders`)).json()).count;
  await page.click('#order button');
  await page.until(() => location.pathname.startsWith('/v1/tasks/'));
  await page.until(() => location.pathname.startsWith('/checkout/SO-'), undefined, 60_000);
  check((await page.text('h1')) === (language === 'fr' ? 'Merci de votre commande' : 'Thank you for your order'), `the order has its page: ${language}`);
  await page.reload();
  const after = (await (await fetch(`${stage.url}/orders`)).json()).count;
  check(after === before + 1, `one order was made: ${after - before}`);
}

if (process.env.SHOTS) await pictures();
else await tests();
await stage.stop();
if (measured.length) console.table(measured);
verdict();

// Two clicks of one customer, told by the cookie that the page gives.
async function clickedTwice() {
  const click = () => fetch(`${stage.base}/checkout?slow=0`, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: 'customer=c-1', 'content-type': 'application/x-www-form-urlencoded' },
    body: 'reference=B-1&article=lamp&quantity=1',
  });
  const [one, other] = [await click(), await click()].map((answer) => answer.headers.get('relais-task'));
  check(one && one === other, `two clicks are one order: ${one}, ${other}`);
}

async function tests() {
  await clickedTwice();
  await eachBrowser(async (page, browser) => {
    await inShop(page);
    await holdsAccessible(page, `at first (${browser.name})`);
    await sideBySide(page, browser);
    await waysAside(page);
    await holdsAccessible(page, `in the end (${browser.name})`);
    await brought(page, browser);
    await inFrench(page);
    await inShop(page, '/?lang=en');
    await codeShown(page);
    await talks(page, 'fails.en');
    const tab = await leftAndBack(page, browser);
    await killedMidway(tab);
    await erasedMidway(tab);
    await feedbackFirst(tab);
    await keepsNothing(await browser.device());
  });
  for (const [language, dark] of [['fr', true], ['en', false]]) {
    await eachBrowser(async (page, browser) => {
      for (const target of ['/', '/elsewhere']) {
        await page.go(stage.base + target);
        await page.until((wanted) => document.documentElement?.lang === wanted, language);
        await page.run(() => document.querySelectorAll('details').forEach((one) => { one.open = true; }));
        await holdsAccessible(page, `${target}, ${language}, dark ${dark} (${browser.name})`);
        const wide = await page.run(() => document.documentElement.scrollWidth - innerWidth);
        check(wide <= 0, `nothing is wider than a phone: ${target}, ${wide} (${browser.name})`);
      }
    }, { language, dark, width: 360, height: 740 });
    await eachBrowser((page) => formAlone(page, language), { language, javascript: false });
  }
}

// The pictures of docs/guide: how the page is seen, what is done before, and what of it is shown.
async function pictures() {
  const whole = async (page) => { await ended(page); await page.until(() => !document.querySelector('relais-tray').shadowRoot.querySelector('.toast')); };
  const midway = (page) => page.until(() => Number(document.querySelector('[data-way="sse"] progress').value) > 55);
  const chat = async (page) => {
    await page.click('[data-idea]:nth-child(2)');
    await page.until(() => document.querySelector('#talk').lastElementChild?.textContent.length > 420);
  };
  const catalogue = async (page) => {
    await page.click('.leave a');
    await page.until(() => document.querySelector('relais-tray')?.shadowRoot?.querySelector('.toast'));
  };
  const desk = { width: 1280, height: 900 };
  const phone = { width: 390, height: 844 };
  for (const [name, { before, of, ...how }] of Object.entries({
    'shop-desk': { before: whole, of: ['.top', '.ways'], ...desk },
    'shop-desk-dark-french': { before: midway, of: ['.top', '.ways'], ...desk, dark: true, language: 'fr' },
    'shop-phone': { before: whole, of: ['.ways', '.ways'], ...phone },
    'shop-phone-dark': { before: midway, of: ['.top', '#import'], ...phone, dark: true },
    'shop-chat': { before: chat, of: ['[aria-labelledby="chat-title"]', '.chat'], ...desk },
    'shop-tray': { before: catalogue, ...desk },
  })) {
    await eachBrowser(async (page) => {
      await inShop(page);
      await handIn(page);
      await before(page);
      // From the top of one element to the end of another; without any, what is seen.
      const clip = of && await page.run(([first, last]) => {
        const y = document.querySelector(first).getBoundingClientRect().top + scrollY;
        return { x: 0, y, width: innerWidth, height: document.querySelector(last).getBoundingClientRect().bottom + scrollY - y + 40 };
      }, of);
      // Above all else, it would lie upon what is to be shown.
      if (of) await page.run(() => { document.querySelector('relais-tray').hidden = true; });
      await page.inner.screenshot({ path: path.join(process.env.SHOTS, `${name}.png`), fullPage: Boolean(of), clip });
    }, { ...how, only: 'chromium' });
  }
}
