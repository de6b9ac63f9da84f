// What the elements say: as the pages of Relais do, in French to those who read French, else in English.
import { words } from '../generated/words.js';

/** The words of one language. */
export type Words = Readonly<Record<keyof (typeof words)['en'], string>>;

/** The language of a place in a page: of the nearest ancestor that says one, else of the browser. */
export function languageAt(element: Element): keyof typeof words {
  let said: string | null | undefined;
  for (let at: Element | undefined = element; at && !said; ) {
    const found: Element | null = at.closest('[lang]');
    said = found?.getAttribute('lang');
    const root = at.getRootNode();
    at = root instanceof ShadowRoot ? root.host : undefined;
  }
  return /^fr\b/i.test(said || navigator.language) ? 'fr' : 'en';
}

/** The words for a place in a page. */
export function wordsAt(element: Element): Words {
  return words[languageAt(element)];
}

/** A sentence with a value in the place of its `%`. */
export function fill(sentence: string, value: string): string {
  // By a function: a `$` in a value means nothing.
  return sentence.replace('%', () => value);
}
