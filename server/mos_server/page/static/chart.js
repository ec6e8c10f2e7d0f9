// A line chart over releases, as SVG by hand: three lines and two axes. Chart libraries of
// this size draw on a canvas, which screen readers cannot read, or set inline styles, which
// this page's Content-Security-Policy forbids.
const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 46, right: 14, top: 12, bottom: 26 };
const HEIGHT = 190;

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A round step, so that some four lines of a grid divide `range`.
function step(range) {
  const rough = range / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
}

function span(values) {
  const low = Math.min(...values),
    high = Math.max(...values);
  const pad = (high - low || Math.abs(high) || 1) * 0.15;
  const every = step(high - low + 2 * pad);
  return [Math.floor((low - pad) / every) * every, Math.ceil((high + pad) / every) * every, every];
}

// A share in percent, with the digits that steps of `every` need.
const tick = (share, every) =>
  `${(100 * share).toFixed(Math.min(8, Math.max(0, -Math.floor(Math.log10(100 * every) + 1e-9))))}%`;

// series: [{ name, kind, values: [share] }], one value for each of `labels`.
export function lineChart({ label, labels, series, width, floor }) {
  let [low, high, every] = span(series.flatMap((one) => one.values));
  if (floor !== undefined) low = Math.max(low, floor);
  const inner = width - MARGIN.left - MARGIN.right;
  const x = (index) =>
    MARGIN.left + (labels.length > 1 ? (inner * index) / (labels.length - 1) : inner / 2);
  const y = (value) =>
    MARGIN.top + ((high - value) / (high - low)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const svg = node("svg", {
    class: "line-chart",
    width,
    height: HEIGHT,
    role: "img",
    "aria-label": label,
  });
  for (let value = low; value <= high + every / 2; value += every) {
    svg.append(
      node("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
      node("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, tick(value, every)),
    );
  }
  const skip = Math.ceil((labels.length * 34) / inner);
  labels.forEach((text, index) => {
    if ((labels.length - 1 - index) % skip === 0)
      svg.append(node("text", { x: x(index), y: HEIGHT - 8, "text-anchor": "middle" }, text));
  });
  for (const one of series) {
    const points = one.values.map((value, index) => `${x(index)},${y(value)}`);
    if (points.length > 1)
      svg.append(node("polyline", { class: `series ${one.kind}`, points: points.join(" ") }));
    one.values.forEach((value, index) => {
      const dot = node("circle", { class: `series ${one.kind}`, cx: x(index), cy: y(value), r: 3.2 });
      dot.append(node("title", {}, `release ${labels[index]}, ${one.name}: ${tick(value, every / 100)}`));
      svg.append(dot);
    });
  }
  return svg;
}
