// How the elements look. Pages say it otherwise by custom properties (README), and by `::part()`.

/** What both elements have. Colours are light or dark as the `color-scheme` of the page is there. */
const shared = `
:host {
  --ink: var(--relais-ink, light-dark(#1a1d21, #eef0f2));
  --soft: var(--relais-soft, light-dark(#545b64, #a9b1ba));
  --line: var(--relais-line, light-dark(#dfe3e8, #333a42));
  --ground: var(--relais-ground, light-dark(#fff, #1a1e23));
  --accent: var(--relais-accent, light-dark(#1c5fc4, #7fb2ff));
  --on-accent: var(--relais-on-accent, light-dark(#fff, #000));
  --good: var(--relais-good, light-dark(#1a7f42, #58c27d));
  --bad: var(--relais-bad, light-dark(#c0392b, #ff8a7a));
  --radius: var(--relais-radius, .6rem);
  font: var(--relais-font, 1rem/1.5 system-ui, sans-serif);
  color: var(--ink);
}
:host([hidden]), [hidden] { display: none !important }
* { box-sizing: border-box }
p, h2, ul { margin: 0; padding: 0; list-style: none }
button, a.main {
  font: inherit; color: inherit; background: none; border: 1px solid var(--soft); border-radius: calc(var(--radius)*.7);
  padding: .35rem .9rem; text-decoration: none; cursor: pointer
}
.main { color: var(--on-accent) !important; background: var(--accent) !important; border-color: var(--accent) !important }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
`;

/** Of a task. */
export const taskStyle = `${shared}
:host { display: block }
.task {
  display: grid; gap: .35rem; padding: 1rem 1.2rem; overflow-wrap: anywhere; background: var(--ground);
  border: 1px solid var(--line); border-radius: var(--radius)
}
.state { display: flex; align-items: center; gap: .5rem; font-size: .9em; --tone: var(--soft) }
.state::before { content: ""; width: .65rem; height: .65rem; border: .17rem solid var(--tone); border-radius: 50% }
.busy, .idle { --tone: var(--accent) }
.good { --tone: var(--good) }
.bad { --tone: var(--bad) }
.state:not(.idle)::before { background: var(--tone) }
.title { font-weight: 600 }
progress { display: block; width: 100%; height: .7rem; accent-color: var(--accent) }
.figures { display: flex; justify-content: space-between; gap: 1rem; font-size: .9em; color: var(--soft); font-variant-numeric: tabular-nums }
.trouble { border-left: .25rem solid var(--bad); padding-left: .75rem; font-size: .9em }
.actions { display: flex; flex-wrap: wrap; align-items: start; gap: .5rem 1rem; margin-top: .35rem }
.actions:not(:has(> :not([hidden]))) { display: none }
summary { cursor: pointer; padding: .4rem 0; color: var(--soft) }
`;

/** Of the tray. */
export const trayStyle = `${shared}
:host, .panel { position: fixed; inset: var(--relais-tray-inset, auto 1rem 1rem auto); width: min(24rem, 100vw - 2rem) }
:host { z-index: var(--relais-tray-layer, 1000); display: flex; flex-direction: column-reverse; align-items: end; pointer-events: none }
.toggle, .panel, .toast {
  color: var(--ink); background: var(--ground); border: 1px solid var(--line); border-radius: var(--radius);
  box-shadow: 0 .25rem 1rem #0003; pointer-events: auto
}
.toggle { border-color: var(--soft); font-weight: 600 }
.count { margin-left: .5rem; padding: .05rem .5rem; border-radius: 1rem; color: var(--on-accent); background: var(--accent) }
.panel { margin: 0 0 3.25rem; max-height: 70vh; overflow: auto; padding: 1rem }
h2 { font-size: 1.1em }
li { padding: .75rem 0; border-bottom: 1px solid var(--line) }
relais-task::part(task) { border: 0; padding: 0 0 .35rem }
.rest { display: flex; gap: 1rem; padding-top: .75rem }
li > button, .rest button { font-size: .85em }
.toast { display: flex; align-items: start; gap: .5rem; width: 100%; margin-bottom: .5rem; padding: .75rem 1rem; overflow-wrap: anywhere }
.toast p { flex: 1 }
.toast a { color: inherit; display: block }
.toast button { border: 0 }
.toasts { width: 100% }
`;
