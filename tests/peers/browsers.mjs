// Two real browsers as Debian packages them, behind one face: Chromium (playwright-core) and Firefox ESR (puppeteer-core over
// WebDriver BiDi). What a page does is what its reader can do: go, click, type, reload, back, another tab.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { require } from './peer.mjs';

const PATIENCE_MS = 30_000;
// How long a browser may be busy with a script, on a slow machine: one that hangs says nothing.
const VISIT_MS = 240_000;
// What is said of a page that another one takes the place of.
const GONE = /context|navigat|closed|no such frame|inactive|AbortError|Cannot find/i;

// Calls `visit(page, browser)` in each browser, in a profile of its own, one after the other.
//
// `browser`: `name`; `tab()`, one more page of the same profile; `device()`, a page of another profile; `downloaded(pattern)`, the
// bytes of the file of such a name that it kept.
// Settings: `javascript`, `language`, `dark`, `width`, `height`, `zone` (of time), `only` (the name of one browser).
export async function eachBrowser(visit, wanted = {}) {
  for (const [name, open] of Object.entries({ chromium, firefox })) {
    if (wanted.only && wanted.only !== name) continue;
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'relais-browser-'));
    const asked = { javascript: true, language: 'en', dark: false, width: 1280, height: 800, zone: 'Europe/Paris', ...wanted };
    const opened = await open(asked, folder);
    const tab = async () => new Page(await opened.tab());
    const device = async () => new Page(await opened.device());
    const downloaded = (pattern) => wholeFile(folder, pattern);
    const bound = setTimeout(() => {
      console.log(`${name} does not come to an end`);
      process.exit(1);
    }, VISIT_MS);
    try {
      await visit(await tab(), { name, tab, device, downloaded });
    } finally {
      clearTimeout(bound);
      await opened.close();
      fs.rmSync(folder, { recursive: true, force: true });
    }
  }
}

async function chromium(asked, folder) {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];
  const browser = await require('playwright-core').chromium.launch({ executablePath: '/usr/bin/chromium', args });
  const profile = () => browser.newContext({
    javaScriptEnabled: asked.javascript,
    locale: asked.language,
    colorScheme: asked.dark ? 'dark' : 'light',
    viewport: { width: asked.width, height: asked.height },
    timezoneId: asked.zone,
  });
  const pageOf = async (context) => {
    const page = await context.newPage();
    page.on('download', async (file) => file.saveAs(path.join(folder, file.suggestedFilename())));
    return page;
  };
  const context = await profile();
  return { tab: () => pageOf(context), device: async () => pageOf(await profile()), close: () => browser.close() };
}

async function firefox(asked, folder) {
  const browser = await require('puppeteer-core').launch({
    browser: 'firefox',
    executablePath: '/usr/bin/firefox-esr',
    headless: true,
    env: { ...process.env, TZ: asked.zone },
    extraPrefsFirefox: {
      'javascript.enabled': asked.javascript,
      'intl.accept_languages': asked.language,
      'layout.css.prefers-color-scheme.content-override': asked.dark ? 0 : 1,
      'browser.download.folderList': 2,
      'browser.download.dir': folder,
      // It is to call nobody by itself.
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
      'app.normandy.enabled': false,
    },
  });
  const pageOf = async (context) => {
    const page = await context.newPage();
    await page.setViewport({ width: asked.width, height: asked.height });
    return page;
  };
  const device = async () => pageOf(await browser.createBrowserContext());
  return { tab: () => pageOf(browser), device, close: () => browser.close() };
}

// A page of either. Scripts that it is given (`run`, `until`) run beside those of the page, also where its own are switched off;
// there they may not wait for anything.
class Page {
  // Each answer that was shown, or tried to be: { method, url, status }.
  seen = [];

  constructor(page) {
    // Of playwright or puppeteer, whose names for what is used here are the same.
    this.inner = page;
    page.on('response', (answer) => {
      const request = answer.request();
      if (!request.isNavigationRequest()) return;
      this.seen.push({ method: request.method(), url: answer.url(), status: answer.status() });
    });
  }

  // Goes to an address, and is there once it is loaded. One that a file comes from shows nothing.
  async go(url) {
    await this.inner.goto(url, { timeout: PATIENCE_MS }).catch((error) => {
      if (!/ERR_ABORTED|Download is starting|BINDING_ABORTED|ABORT/.test(error.message)) throw error;
    });
  }

  // Loads what is shown again, and is there once it begins to be shown.
  async reload() {
    await this.leave(() => {
      document.isOld = true;
      location.reload();
    });
    await this.until(() => !document.isOld && document.body !== null);
  }

  // Presses the browser's button; what is shown then may come from the memory of the browser.
  async back() {
    await this.leave(() => { history.back(); });
  }

  // As the browser says, which may be behind: what is shown can be another page already.
  url() {
    return this.inner.url();
  }

  // The address of what is shown, also while a page loads itself again.
  address() {
    return this.until(() => location.href);
  }

  title() {
    return this.run(() => document.title);
  }

  // The text of the first element that fits; `undefined` where none does, or none is shown. What is behind ` >>> ` is inside of
  // the element before it, which has an open shadow root; so it is for `click`.
  text(selector = 'body') {
    return this.run((wanted) => {
      const found = wanted.split(' >>> ').reduce((at, one) => (at?.shadowRoot ?? at)?.querySelector(one), document);
      return found?.getClientRects().length ? found.innerText.trim() : undefined;
    }, selector);
  }

  run(script, value) {
    return this.inner.evaluate(script, value);
  }

  // Runs what leads away from the page, which may be gone before it says that it ran.
  async leave(script) {
    await this.run(script).catch((error) => {
      if (!GONE.test(error.message)) throw error;
    });
  }

  // Presses where an element is, as a hand would. Does not wait for what comes of it: see `until`.
  async click(selector) {
    const at = await this.until((wanted) => {
      const found = wanted.split(' >>> ').reduce((at, one) => (at?.shadowRoot ?? at)?.querySelector(one), document);
      found?.scrollIntoView({ block: 'center', behavior: 'instant' });
      const box = found?.getBoundingClientRect();
      return box?.width ? [box.x + box.width / 2, box.y + box.height / 2] : undefined;
    }, selector);
    await this.inner.mouse.click(...at);
  }

  async fill(selector, text) {
    await this.click(selector);
    await this.inner.keyboard.type(text);
  }

  // What `script` says of the page, a plain value, once that is true; also across loads of other pages.
  async until(script, value, patience = PATIENCE_MS) {
    const end = Date.now() + patience;
    for (;;) {
      const said = await this.run(script, value).catch((error) => {
        if (!GONE.test(error.message)) throw error;
      });
      if (said) return said;
      if (Date.now() > end) {
        const shown = await this.text().catch(() => '');
        throw new Error(`not within ${patience} ms: ${script}, ${value}\n${this.url()}\n${shown}`);
      }
      await pause(50);
    }
  }

  // Waits for a text anywhere on the page.
  untilSaid(text, patience) {
    return this.until((wanted) => document.body?.innerText.includes(wanted), text, patience);
  }

  // A picture of all of the page.
  shot(file) {
    return this.inner.screenshot({ path: file, fullPage: true });
  }

  close() {
    return this.inner.close();
  }
}

async function wholeFile(folder, pattern) {
  for (const end = Date.now() + PATIENCE_MS; ; await pause(50)) {
    const names = fs.readdirSync(folder);
    const name = names.find((one) => pattern.test(one));
    // What is not whole yet lies beside it, or is empty.
    const isWhole = name && !names.includes(`${name}.part`) && fs.statSync(path.join(folder, name)).size > 0;
    if (isWhole) return fs.readFileSync(path.join(folder, name));
    if (Date.now() > end) throw new Error(`never came: ${pattern}; there are ${names}`);
  }
}
