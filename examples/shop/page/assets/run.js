// An import as this browser knows it, kept so that a reload, a closed tab or another day lose nothing of it.
//
// `begun`: when the button was pressed (ms since 1970, by this browser's clock, as all that follows but `settled`);
// `feedback`: how long it then took until something was shown; `task`: the document of the 202; `ticket`: when it came;
// `skew`: what the server's clock is ahead of this one; `settled`: when the task's end was recorded, by the server's clock;
// `returned`: when somebody came back last; `ways`: a record of each (see meter.js).
const PLACE = 'shop.import';

// What this browser has kept at a place; nothing where it has not, or lets nobody see.
export function stored(place) {
  try {
    return JSON.parse(localStorage.getItem(place)) ?? undefined;
  } catch {
    return undefined;
  }
}

// A browser that keeps nothing, because it is full or switched off, shows all the same, until the page is left.
export function store(place, value) {
  try {
    localStorage.setItem(place, JSON.stringify(value));
  } catch {
    // Nothing is lost but the way back.
  }
}

export const now = () => performance.timeOrigin + performance.now();

export function begin(ways) {
  const records = Object.fromEntries(ways.map((way) => [way, { requests: 0, bytes: 0, marks: [] }]));
  return { begun: now(), ways: records };
}

export function load() {
  return stored(PLACE);
}

// Of two tabs the one whose import is newer is kept, of the same import the one that has seen more: who is behind writes
// nothing over it.
export function keep(run) {
  run.kept = now();
  const kept = load();
  const isBehind = kept?.begun === run.begun && seenIn(kept) > seenIn(run);
  if (kept?.begun > run.begun || isBehind) return;
  store(PLACE, run);
}

function seenIn({ ways }) {
  return Object.values(ways).filter((record) => record.seen).length;
}

// When a run that was left is taken up again: what was open then was cut off at that moment.
export function takeUp(run) {
  run.returned = now();
  for (const record of Object.values(run.ways)) {
    for (const mark of record.marks) mark[2] ??= run.kept;
    if (!record.seen) record.marks.push(['away', run.kept, run.returned]);
  }
}

// How long after the end of the work a way has seen its answer; counted from the return of whoever was away then.
export function delayOf(run, record) {
  const end = run.settled - run.skew;
  const isBack = run.returned > end && record.seen > run.returned;
  return { isBack, ms: Math.max(0, record.seen - (isBack ? run.returned : end)) };
}
