// `@relais/client/elements`: importing it is what makes the elements known to the page.
import { RelaisTask } from './task.js';
import { RelaisTray } from './tray.js';

export { RelaisTask, RelaisTray };

// Once: a page may have the script twice, and there is none where pages are made.
for (const [name, element] of [['relais-task', RelaisTask], ['relais-tray', RelaisTray]] as const) {
  if (globalThis.customElements && !customElements.get(name)) customElements.define(name, element);
}

declare global {
  interface HTMLElementTagNameMap {
    'relais-task': RelaisTask;
    'relais-tray': RelaisTray;
  }
}
