"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const task = at("task").dataset;
  // Every kind of event, and the status after it.
  const statuses = Object.fromEntries(task.kinds.split(" ").map((kind) => kind.split("=")));
  const language = document.documentElement.lang;
  const clock = (text) => new Date(text).toLocaleString(language, { dateStyle: "medium", timeStyle: "medium" });
  const told = (time, text) => { time.dateTime = text; time.textContent = clock(text); };
  const estimate = (position, eta) => {
    const parts = [];
    if (position) parts.push(task.place.replace("%", position));
    if (eta) parts.push(task.expected.replace("%", clock(eta)));
    at("estimate").textContent = parts.join(" ");
  };
  for (const time of document.querySelectorAll("time")) told(time, time.dateTime);
  // Where a form was handed in, loading the page again would hand it in again: this is its own address.
  if (location.pathname + location.search !== task.self) history.replaceState(null, "", task.self);
  // The answer is shown at the address that was asked for, once.
  if (task.next) location.replace(task.next + location.hash);
  if (task.terminal === "true") return;
  estimate(task.position, task.eta);
  if (!window.EventSource) return;
  const follow = new EventSource(task.events);
  const show = (type, message) => {
    const event = JSON.parse(message.data);
    const status = statuses[type];
    at("heading").textContent = document.title = task[status];
    told(at("updated"), event.at);
    if (status !== "queued") estimate();
    if (type === "progressed") {
      if (typeof event.data.percent === "number") at("progress").value = event.data.percent;
      if (event.data.message) at("message").textContent = event.data.message;
    }
    if (["succeeded", "failed", "canceled"].includes(type)) {
      follow.close();
      // The page of a task that is over says how it ended, and leads to its answer.
      location.reload();
    }
  };
  for (const type of Object.keys(statuses)) {
    follow.addEventListener(type, (message) => show(type, message));
  }
  follow.addEventListener("relais.estimate", (message) => {
    const known = JSON.parse(message.data);
    estimate(known.position, known.eta && known.eta.p50);
  });
  // Closed for good: whoever may not follow may still look.
  follow.onerror = () => {
    if (follow.readyState === 2) setTimeout(() => location.reload(), 10000);
  };
})();
