// What Relais brings: an element for the import, and the tray, to which the import is told. Without Relais in front there is neither.
import { words } from './words.js';

// The answer of an import is JSON, made for programs: it opens beside the shop, not in its place.
document.addEventListener('click', (event) => {
  const link = event.composedPath().find((part) => part.localName === 'a');
  if (link?.pathname.endsWith('/result')) link.target = '_blank';
}, { capture: true });

const client = import('../v1/client.js').catch(() => undefined);

// Shows a task in the element, and keeps it for the tray and for the list of this browser's requests.
export async function bring({ links }) {
  const brought = await client;
  if (!brought) return;
  // Where the browser gets no session, as by plain http from elsewhere, the tray has it all the same.
  fetch(links.self.replace('/tasks/', '/session/'), { method: 'POST' }).catch(() => {});
  const relais = new brought.Relais();
  await relais.remember(relais.task(links.self));
  element({ links });
}

// The element is known once the script of Relais is there, and shows nothing before.
export function element({ links }) {
  const shown = document.createElement('relais-task');
  shown.setAttribute('label', words('element'));
  shown.setAttribute('href', links.self);
  document.querySelector('#element').replaceChildren(shown);
}
