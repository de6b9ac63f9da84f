// Making what is shown. No markup is parsed and no style is written into it: the strictest policies of pages allow it.

type Child = Node | string;

/** Not there where there is no page, as in a worker or on a server that makes pages. */
export const Base: typeof HTMLElement = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

/** An element with these properties; its part is its class, by which pages style it and we do. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  className = '',
  properties: Partial<HTMLElementTagNameMap[Name]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const made = Object.assign(document.createElement(name), properties);
  for (const attribute of className && ['class', 'part']) made.setAttribute(attribute, className);
  made.append(...children);
  return made;
}

/** Shows a text in an element, or hides it where there is none. Whoever listens is told of changes alone. */
export function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
}

/** The inside of an element, with this style. */
export function inside(host: HTMLElement, style: string, ...children: Child[]): ShadowRoot {
  const root = host.attachShadow({ mode: 'open' });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(style);
  root.adoptedStyleSheets = [sheet];
  root.append(...children);
  return root;
}

/** An address of the web, or nothing: what comes from elsewhere may be a script, which a link would run in the page. */
export function webAddress(href = ''): string {
  return /^https?:$/.test(make('a', '', { href }).protocol) ? href : '';
}

/** Lets the page know. */
export function tell(host: HTMLElement, type: string, detail: unknown): void {
  host.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
}
