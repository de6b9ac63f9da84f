// Draws the lines: one for each way, all on the same axis of time.
const HEIGHT = 34;

export class Lane {
  constructor(canvas) {
    this.canvas = canvas;
  }

  // `at(moment)`: a share of the width; `end`: when the work was done; `until`: now, for what is open.
  draw(record, { at, end, until }) {
    const { canvas } = this;
    const { clientWidth: width } = canvas;
    const ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = HEIGHT * ratio;
    }
    const pen = canvas.getContext('2d');
    const colours = getComputedStyle(canvas);
    const colour = (name) => colours.getPropertyValue(`--${name}`);
    const x = (moment) => 6 + at(moment) * (width - 12);
    const middle = HEIGHT / 2;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, HEIGHT);
    const bar = (from, to, height, name) => {
      pen.fillStyle = colour(name);
      pen.beginPath();
      pen.roundRect(from, middle - height / 2, Math.max(2, to - from), height, Math.min(2, height / 2));
      pen.fill();
    };
    bar(0, width, 2, 'track');
    for (const [kind, from, to] of record?.marks ?? []) {
      if (kind === 'away') bar(x(from), x(to), 2, 'ground');
      if (kind !== 'open') continue;
      bar(x(from), x(to ?? until), 12, 'held');
      bar(x(from) - 1, x(from) + 1, 22, 'ask');
    }
    pen.fillStyle = colour('event');
    for (const [kind, from] of record?.marks ?? []) {
      if (kind === 'news') dot(pen, x(from), middle, 2);
    }
    if (end) bar(x(end) - 0.75, x(end) + 0.75, HEIGHT, 'end');
    if (!record?.seen || record.isLost) return;
    pen.fillStyle = colour(record.problem ? 'bad' : 'seen');
    dot(pen, x(record.seen), middle, 6);
  }
}

function dot(pen, x, y, radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}
