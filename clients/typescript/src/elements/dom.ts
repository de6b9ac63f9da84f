// Making what is shown. No markup is parsed and no style is written into it: the strictest policies of pages allow it.

type Child = Node | string;

/** Not there where there is no page, as in a worker or on a server that makes pages. */
export const Base: typeof HTMLElement = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

/** An element with attributes, or with a listener where the name begins with `on`. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string | (() => void)>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (typeof value === 'string') made.setAttribute(attribute, value);
    else made.addEventListener(attribute.slice(2), value);
  }
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

/** Sets again what a page has set before the element was known. */
export function upgrade(host: HTMLElement, ...names: string[]): void {
  const own = host as unknown as Record<string, unknown>;
  for (const name of names) {
    if (!Object.hasOwn(own, name)) continue;
    const value = own[name];
    delete own[name];
    own[name] = value;
  }
}

/** Lets the page know. */
export function tell(host: HTMLElement, type: string, detail: unknown): void {
  host.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
}
