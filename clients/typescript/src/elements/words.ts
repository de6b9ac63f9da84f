// What the elements say: as the pages of Relais do, in French to those who read French, else in English.
import { words } from '../generated/words.js';

/** The words of one language. */
export type Words = Readonly<Record<keyof (typeof words)['en'], string>>;

/** The language of a place in a page: of the nearest ancestor that says one, else of the browser. */
export function languageAt(element: Element): keyof typeof words {
  const said = element.closest('[lang]')?.getAttribute('lang');
  const root = element.getRootNode();
  if (!said && root instanceof ShadowRoot) return languageAt(root.host);
  return /^fr\b/i.test(said || navigator.language) ? 'fr' : 'en';
}

/** The words for an element. Its inside says their language, for whoever hears them: the page may be in another. */
export function wordsOf(host: HTMLElement): Words {
  const lang = languageAt(host);
  for (const part of host.shadowRoot?.children ?? []) (part as HTMLElement).lang = lang;
  return words[lang];
}

/** A sentence with a value in the place of its `%`. */
export function fill(sentence: string, value: string): string {
  // By a function: a `$` in a value means nothing.
  return sentence.replace('%', () => value);
}
