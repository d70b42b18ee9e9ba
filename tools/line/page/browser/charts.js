// Charts of counts and scores, built node by node; nothing that comes from the line is ever read as markup.

const SPACE = "http://www.w3.org/2000/svg";
const VERDICTS = ["good", "defect", "cannot_judge", "late"];
export const WORDS = { good: "good", defect: "defect", cannot_judge: "cannot judge", late: "late" };
const [WIDTH, HEIGHT, LEFT, RIGHT] = [330, 148, 34, 4]; // about what they take on the page, so that text keeps its size

function node(name, attributes, text) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function titled(shape, words) {
  shape.append(node("title", {}, words));
  return shape;
}

function picture(words) {
  return node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words });
}

// A number above a scale that people read easily: 1, 2 or 5 times a power of ten.
export function ceiling(value) {
  if (value <= 4) return Math.max(1, Math.ceil(value));
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

const whole = new Intl.NumberFormat("en");
const clock = (moment) => moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

// hours: for each hour, the oldest first, the counts of the four verdicts; now: seconds since 1970.
export function hoursChart(hours, now) {
  const [all, bad] = [hours.map((one) => one.reduce((a, b) => a + b, 0)), hours.map((one) => one[1] + one[2] + one[3])];
  const total = all.reduce((a, b) => a + b, 0);
  const rejected = bad.reduce((a, b) => a + b, 0);
  const svg = picture(`${whole.format(total)} parts in 24 hours, ${whole.format(rejected)} of them not good`);
  const step = (WIDTH - LEFT - RIGHT) / hours.length;
  const rows = [
    { top: 16, high: 50, most: ceiling(Math.max(...all)), kinds: [0], words: "good" },
    { top: 86, high: 36, most: ceiling(Math.max(...bad)), kinds: [1, 2, 3], words: "not good" },
  ];
  for (const row of rows) {
    const foot = row.top + row.high;
    svg.append(node("text", { x: LEFT, y: row.top - 5 }, row.words));
    svg.append(node("text", { x: LEFT - 5, y: row.top + 8, "text-anchor": "end" }, whole.format(row.most)));
    svg.append(node("text", { x: LEFT - 5, y: foot, "text-anchor": "end" }, "0"));
    svg.append(node("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: row.top, y2: row.top }));
    svg.append(node("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: foot + 0.5, y2: foot + 0.5 }));
    hours.forEach((counts, i) => {
      const begins = new Date((Math.floor(now / 3600) - hours.length + 1 + i) * 3600e3);
      let y = foot;
      for (const kind of row.kinds) {
        if (!counts[kind]) continue;
        const height = Math.max(1, (row.high * counts[kind]) / row.most);
        y -= height;
        const bar = node("rect", { class: VERDICTS[kind], x: LEFT + i * step + 1, y, width: step - 2, height });
        svg.append(titled(bar, `from ${clock(begins)}: ${whole.format(counts[kind])} ${WORDS[VERDICTS[kind]]}`));
      }
    });
  }
  for (let i = hours.length - 1; i >= 0; i -= 6) {
    const begins = new Date((Math.floor(now / 3600) - hours.length + 1 + i) * 3600e3);
    svg.append(node("text", { x: LEFT + (i + 0.5) * step, y: HEIGHT - 10, "text-anchor": i > 20 ? "end" : "middle" }, clock(begins)));
  }
  return svg;
}

// histogram: as the server gives it; null before the first part.
export function scoresChart(histogram) {
  if (histogram === null) {
    const svg = picture("no scores yet");
    svg.append(node("text", { x: WIDTH / 2, y: 70, "text-anchor": "middle" }, "no scores of this product yet"));
    return svg;
  }
  const { counts, parts, over, threshold, words } = histogram;
  const share = `${whole.format(over)} of the last ${whole.format(parts)} parts score above the threshold ${words.threshold}`;
  const svg = picture(share);
  const [top, foot] = [28, 122];
  const step = (WIDTH - LEFT - RIGHT) / counts.length;
  const most = ceiling(Math.max(...counts));
  svg.append(node("text", { x: LEFT - 5, y: top + 8, "text-anchor": "end" }, whole.format(most)));
  svg.append(node("text", { x: LEFT - 5, y: foot, "text-anchor": "end" }, "0"));
  svg.append(node("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: top, y2: top }));
  counts.forEach((count, i) => {
    if (!count) return;
    const height = Math.max(1, ((foot - top) * count) / most);
    const kind = (i + 0.5) / counts.length > threshold ? "defect" : "good";
    const bar = node("rect", { class: kind, x: LEFT + i * step + 0.5, y: foot - height, width: step - 1, height });
    svg.append(titled(bar, `${whole.format(count)} parts`));
  });
  svg.append(node("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: foot + 0.5, y2: foot + 0.5 }));
  const x = LEFT + threshold * (WIDTH - LEFT - RIGHT);
  svg.append(node("line", { class: "limit", x1: x, x2: x, y1: top - 6, y2: foot }));
  const side = threshold > 0.5 ? "end" : "start";
  svg.append(node("text", { x: x + (side === "end" ? -4 : 4), y: top - 10, "text-anchor": side }, `threshold ${words.threshold}`));
  svg.append(node("text", { x: LEFT, y: HEIGHT - 10 }, words.low));
  svg.append(node("text", { x: WIDTH - RIGHT, y: HEIGHT - 10, "text-anchor": "end" }, words.high));
  return svg;
}
