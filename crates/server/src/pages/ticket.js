"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const names = {
    accepted: "queued", started: "running", progressed: "running", output: "running",
    deferred: "waiting", attempt_failed: "running", requeued: "queued",
    succeeded: "succeeded", failed: "failed", canceled: "canceled",
  };
  if (at("task").dataset.terminal === "true" || !window.EventSource) return;
  const follow = new EventSource(location.pathname + "/events" + location.search);
  const show = (type, message) => {
    const event = JSON.parse(message.data);
    const terminal = ["succeeded", "failed", "canceled"].includes(type);
    at("status").textContent = names[type];
    at("updated").textContent = event.at;
    document.title = names[type] + " – " + event.task;
    if (type === "progressed") {
      if (typeof event.data.percent === "number") at("progress").value = event.data.percent;
      if (event.data.message) at("message").textContent = event.data.message;
    }
    if (terminal) {
      const said = event.data.message || {};
      const language = navigator.language.slice(0, 2);
      at("message").textContent = said[language] || said.en || "";
      if (type === "succeeded") at("progress").value = 100;
      at("done").hidden = false;
      follow.close();
    }
  };
  for (const type of Object.keys(names)) {
    follow.addEventListener(type, (message) => show(type, message));
  }
})();
