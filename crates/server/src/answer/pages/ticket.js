"use strict";
// The page follows its task: when something happens it reads itself again, and takes over the parts that differ. What is said,
// and when, is decided where the page is made.
(() => {
  const main = document.getElementById("task");
  const language = document.documentElement.lang;
  const at = (id) => document.getElementById(id);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  // Whose page it is stands behind each title.
  const whose = document.title.slice(main.dataset.title.length);
  // How far the reader's clock is behind ours, ms.
  let behind = 0;
  // The parts as they were made: times are told anew meanwhile.
  const made = {};

  const spans = new Intl.RelativeTimeFormat(language);
  const units = [["minute", 60, 60], ["hour", 3600, 24], ["day", 86400, Infinity]];
  const relative = (seconds, isAhead) => {
    if (isAhead ? seconds <= 0 : seconds >= -9) return isAhead ? main.dataset.anyMoment : main.dataset.justNow;
    const size = Math.abs(seconds), sign = Math.sign(seconds);
    const near = isAhead ? Math.ceil(size / 10) * 10 : size;
    if (near < 60) return spans.format(sign * near, "second");
    for (const [unit, length, most] of units) {
      const count = Math.max(1, Math.round(size / length));
      if (count < most) return spans.format(sign * count, unit);
    }
  };
  const clock = new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "short" });
  const tell = () => {
    for (const time of main.querySelectorAll("time")) {
      const moment = Date.parse(time.dateTime);
      const text = time.dataset.as === "clock" ? clock.format(moment)
        : relative(Math.floor((moment - Date.now() - behind) / 1000), time.dataset.as === "ahead");
      if (time.textContent !== text) time.textContent = text;
    }
  };

  // Takes over what differs of a page that was made later. What the reader has opened stays open, and the focus in place.
  const take = (fresh) => {
    // The question in the place of the link to the page that asks it, but on that page.
    const question = fresh.querySelector(".ask[hidden]");
    if (question) {
      question.hidden = false;
      fresh.querySelector(".asks").remove();
    }
    behind = Date.parse(fresh.dataset.now) - Date.now();
    for (const part of fresh.children) {
      const old = at(part.id);
      if (!part.id || !old || made[part.id] === part.outerHTML) continue;
      const hadFocus = old.contains(document.activeElement);
      made[part.id] = part.outerHTML;
      if (fresh === main) continue;
      old.className = part.className;
      old.hidden = part.hidden;
      old.replaceChildren(...part.childNodes);
      if (hadFocus && !old.contains(document.activeElement)) (old.querySelector("a, button, summary") || at("asked")).focus();
    }
    if (fresh !== main) Object.assign(main.dataset, fresh.dataset);
    document.title = main.dataset.title + whose;
    tell();
  };

  // What has events is followed: a task until it is over, and the list of a browser never.
  const follows = () => "events" in main.dataset && main.dataset.terminal !== "true";
  let readAt = 0, reading;
  const read = async () => {
    readAt = Date.now();
    const answer = await fetch(main.dataset.self, { headers: { accept: "text/html", "x-requested-with": "relais" }, cache: "no-store" });
    // Whoever may not read it any more is told why.
    if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) return location.reload();
    if (!answer.ok) throw new Error("not now");
    take(new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("task"));
    // Loaded anew, it is told where the answer is.
    if (!follows() && main.dataset.goesOn === "true") location.reload();
  };
  // At most once a second, however much happens.
  const readSoon = () => {
    reading ??= pause(readAt + 1000 - Date.now()).then(read).catch(() => {}).finally(() => { reading = undefined; });
    return reading;
  };

  const heard = (type, data) => {
    if (type !== "progressed") return readSoon();
    // Progress comes often, and all that is told of it is here.
    const told = data.data || {};
    const share = told.percent ?? (told.total ? 100 * told.done / told.total : undefined);
    if (share === undefined) at("bar").firstChild.removeAttribute("value");
    else {
      const percent = Math.floor(Math.min(100, Math.max(0, share)));
      at("bar").firstChild.value = percent;
      at("share").textContent = (percent / 100).toLocaleString(language, { style: "percent" });
      document.title = `${at("share").textContent} · ${at("asked").textContent}${whose}`;
    }
    at("told").textContent = told.message || "";
    delete made.bar;
  };

  // Read with `fetch`, as an EventSource stays closed for ever after any answer but 200, and hears only of kinds that it knows.
  let last = main.dataset.version, retry = Number(main.dataset.again);
  const stream = async (signal) => {
    const headers = { accept: "text/event-stream", "last-event-id": last };
    const answer = await fetch(main.dataset.events, { headers, cache: "no-store", signal });
    if (answer.status !== 200) throw new Error("not now");
    let rest = "", type = "", data = "";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      at("lost").hidden = true;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const [, name, text] = /^(\w*):? ?(.*)$/.exec(line.replace(/\r$/, "")) || [];
        if (name === "event") type = text;
        else if (name === "data") data = text;
        else if (name === "id") last = text;
        else if (name === "retry") retry = Number(text);
        else if (name === "" && text === "" && line[0] !== ":") {
          if (type && type !== "relais.busy") heard(type, JSON.parse(data || "{}"));
          type = data = "";
        }
      }
    }
  };
  // By HTTP/1.1 a browser has six connections to a site for all of its tabs: one that nobody looks at keeps none, and reads the page
  // instead, more and more seldom. But where leaving cancels the task the page must hold it.
  const streams = () => main.dataset.holds === "true" || document.visibilityState === "visible";
  const SELDOM_MS = 60000;
  let turn = () => {};
  document.addEventListener("visibilitychange", () => {
    turn();
    if (document.visibilityState === "visible" && follows()) readSoon();
  });
  const turned = () => new Promise((done) => { turn = done; });
  const follow = async () => {
    let failed = 0, seldom = retry;
    while (follows()) {
      if (streams()) {
        seldom = retry;
        const end = new AbortController();
        turn = () => streams() || end.abort();
        try {
          await stream(end.signal);
          failed = 0;
        } catch {
          if (!end.signal.aborted) failed += 1;
          at("lost").hidden = failed < 2;
        }
      } else seldom = Math.min(2 * seldom, SELDOM_MS);
      const isChanged = turned();
      // The log may be over, or the right to follow it: the page says so.
      await readSoon();
      if (follows()) await Promise.race([pause(streams() ? retry : seldom), isChanged]);
    }
  };

  // A form is sent from here: with the page's origin, which the browser leaves out where no address may be told.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    event.preventDefault();
    form.querySelector("button").disabled = true;
    fetch(form.action, { method: "POST", headers: { accept: "application/json" } }).then(async (answer) => {
      if (!answer.ok) throw new Error("refused");
      if (form.dataset.then) return location.replace(form.dataset.then);
      const { pathname, search } = new URL((await answer.json()).links.self);
      location.replace(pathname + search);
    }).catch(() => form.submit());
  });

  // Where a form was handed in, loading the page again would hand it in again: this is its own address.
  const { self, next } = main.dataset;
  if (self && location.pathname + location.search !== self) history.replaceState(null, "", self);
  // The answer is shown at the address that was asked for, once.
  if (next) location.replace(next + location.hash);
  take(main);
  setInterval(tell, 1000);
  if (follows()) follow();
})();
