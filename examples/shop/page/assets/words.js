// What the page says in the language that it is shown in, and how numbers are written there.
const said = JSON.parse(document.querySelector('#words').textContent);
const language = document.documentElement.lang;

// The words of this name, with values in the place of {0}, {1}…
export function words(name, ...values) {
  return said[name].replace(/\{(\d)\}/g, (_, place) => values[place]);
}

export const number = (value) => new Intl.NumberFormat(language).format(value);

// Milliseconds, as somebody would say them.
export function time(ms) {
  const [value, unit] = ms < 1000 ? [Math.round(ms), 'ms'] : ms < 60_000 ? [Math.round(ms / 100) / 10, 's'] : [Math.round(ms / 60_000), 'min'];
  return `${number(value)}\u00a0${unit}`;
}

export function size(bytes) {
  const byte = language === 'fr' ? 'o' : 'B';
  const [value, unit] = bytes < 1000 ? [bytes, byte] : [Math.round(bytes / 100) / 10, `k${byte}`];
  return `${number(value)}\u00a0${unit}`;
}

// Why something did not work: what is meant for people, in their language, else what is meant for programs.
export function reason({ status, document = {} }) {
  return document.message?.[language] ?? document.detail ?? document.title ?? document.error ?? String(status);
}
