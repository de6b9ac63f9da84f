// How the elements look. Pages say it otherwise by custom properties (README), and by `::part()`.

/**
 * What both elements have. Colours are light or dark as the `color-scheme` of the page is there. What begins with `--_`
 * is our own, for what is said more than once: a page that says `--relais-line: var(--line)` means its own.
 */
const shared = `
:host {
  --_soft: var(--relais-soft, light-dark(#545b64, #a9b1ba));
  --_line: var(--relais-line, light-dark(#dfe3e8, #333a42));
  --_accent: var(--relais-accent, light-dark(#1c5fc4, #7fb2ff));
  --_bad: var(--relais-bad, light-dark(#c0392b, #ff8a7a));
  font: var(--relais-font, 1rem/1.5 system-ui, sans-serif);
  display: block
}
:host([hidden]), [hidden] { display: none !important }
* { box-sizing: border-box; margin: 0; padding: 0; font: inherit; list-style: none }
.task, .panel, .toast, button, a.main {
  color: var(--relais-ink, light-dark(#1a1d21, #eef0f2)); background: var(--relais-ground, light-dark(#fff, #1a1e23)); border: 1px solid var(--_line); border-radius: var(--relais-radius, .6rem); padding: 1rem; overflow-wrap: anywhere
}
button, a.main { border-color: var(--_soft); padding: .25rem .75rem; text-decoration: none; cursor: pointer }
button.main, a.main, .count { color: var(--relais-on-accent, light-dark(#fff, #000)); background: var(--_accent); border-color: var(--_accent) }
h2, .title, .toggle, strong { font-weight: 600 }
:focus-visible { outline: 3px solid var(--_accent); outline-offset: 2px }
`;

/** Of a task. */
export const taskStyle = `${shared}
.task { display: grid; gap: .5rem }
.state { display: flex; align-items: center; gap: .5rem; --_tone: var(--_soft) }
.state::before { content: ""; width: .25rem; height: .25rem; border: .25rem solid var(--_tone); border-radius: 50% }
.busy, .idle { --_tone: var(--_accent) }
.good { --_tone: var(--relais-good, light-dark(#1a7f42, #58c27d)) }
.bad { --_tone: var(--_bad) }
.state:not(.idle)::before { background: var(--_tone) }
.bar { display: block; width: 100%; height: .75rem; accent-color: var(--_accent) }
.figures { display: flex; justify-content: space-between; gap: 1rem; color: var(--_soft) }
.trouble { border-left: .25rem solid var(--_bad); padding-left: .75rem }
.actions { display: flex; flex-wrap: wrap; align-items: start; gap: .5rem 1rem }
.asks { padding: .25rem 0; color: var(--_soft); text-decoration: underline; cursor: pointer }
`;

/** Of the tray. */
export const trayStyle = `${shared}
:host, .panel { position: fixed; inset: var(--relais-tray-inset, auto 1rem 1rem auto); width: min(24rem, 100vw - 2rem) }
:host { z-index: var(--relais-tray-layer, 1000); display: flex; flex-direction: column-reverse; align-items: end; pointer-events: none }
.toggle, .panel, .toast { box-shadow: 0 .25rem 1rem #0003; pointer-events: auto }
.count { margin-left: .5rem; padding: 0 .5rem; border-radius: 1rem }
.panel { margin-bottom: 3.25rem; max-height: 70vh; overflow: auto }
li { position: relative; border-bottom: 1px solid var(--_line) }
li button { position: absolute; top: .75rem; right: 0 }
relais-task::part(task) { border: 0; padding: 1rem 0 }
.rest { display: flex; gap: 1rem; padding-top: 1rem }
.toasts { width: 100% }
.toast { display: flex; align-items: start; margin-bottom: .5rem }
.toast p { flex: 1 }
.toast a { color: inherit; display: block }
`;
