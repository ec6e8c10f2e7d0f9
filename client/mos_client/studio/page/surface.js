// What is on the canvas: regions as SVG over the picture. Tools are in `canvas.js`.
import * as D from "./document.js";
import { canvasOf, loaded, tinted } from "./masks.js";

const $ = (id) => document.getElementById(id);
export const paper = $("paper");
export const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
export const layers = { picture: new Image(), reference: new Image(), scribble: new Image() };

// What tools are doing: a box drawn, corners of a polygon, a drag, a stroke.
export const S = { cell: 8, scale: 1, pending: null, poly: null, drag: null, live: null };
export const masks = new Map();
const extents = new Map();

const SVG = "http://www.w3.org/2000/svg";

export function shape(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
}

export function showPicture(url, sheet) {
  layers.picture.hidden = !url;
  layers.picture.classList.toggle("sheet-of", Boolean(sheet));
  if (url) layers.picture.src = url;
  paper.classList.toggle("showing", Boolean(url));
}

export function showReference(url) {
  layers.reference.hidden = !url;
  if (url) layers.reference.src = url;
}

export function referenceOpacity(share) {
  layers.reference.style.opacity = share;
}

export function fit() {
  if (!D.doc) return;
  const well = paper.parentElement,
    wide = well.clientWidth - (innerWidth <= 900 ? 24 : 64);
  const high = innerWidth <= 900 ? Math.min(innerHeight * 0.6, wide * 1.4) : well.clientHeight - 64;
  S.scale = Math.max(0.05, Math.min(wide / D.doc.width, high / D.doc.height));
  paper.style.width = `${D.doc.width * S.scale}px`;
  paper.style.height = `${D.doc.height * S.scale}px`;
  draw();
}

let fitted = "";

export function fitIfResized() {
  const size = `${D.doc.width}x${D.doc.height}`;
  if (size !== fitted) {
    fitted = size;
    fit();
  }
}

const snapped = (value, side) =>
  $("snap").checked
    ? Math.min(1, Math.max(0, (Math.round((value * side) / S.cell) * S.cell) / side))
    : value;

export const snapPoint = ([x, y]) => [snapped(x, D.doc.width), snapped(y, D.doc.height)];

export const snapBox = ([l, t, r, b]) => [...snapPoint([l, t]), ...snapPoint([r, b])];

export const unit = () => [S.cell / D.doc.width, S.cell / D.doc.height];

export function at(event) {
  const box = svg.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((v) =>
    Math.min(1, Math.max(0, v)),
  );
}

export function draw() {
  if (!D.doc) return;
  const focused = document.activeElement?.closest?.(".region")?.dataset.id;
  const { width, height, regions } = D.doc,
    w = width * S.scale,
    h = height * S.scale;
  svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
  svg.replaceChildren();
  const order = [...regions].sort((a, b) => a.z - b.z);
  order.forEach((region) => {
    if (!region.hidden) drawRegion(region, w, h, regions.indexOf(region) + 1);
  });
  if (S.pending)
    shape(
      "rect",
      rect(S.pending, w, h, {
        fill: "none",
        stroke: "var(--accent)",
        "stroke-width": 2,
        "stroke-dasharray": "5 4",
      }),
      svg,
    );
  if (S.poly)
    shape(
      "polyline",
      {
        points: S.poly.map(([x, y]) => `${x * w},${y * h}`).join(" "),
        fill: "none",
        stroke: "var(--accent)",
        "stroke-width": 2,
      },
      svg,
    );
  if (S.poly)
    shape("circle", { cx: S.poly[0][0] * w, cy: S.poly[0][1] * h, r: 7, class: "handle" }, svg);
  const one = D.chosen();
  if (one && !one.hidden && !one.locked && D.view.tool === "select") drawHandles(one, w, h);
  const scribble = D.doc.controls.find((each) => each.drawn);
  layers.scribble.hidden = !(scribble && D.view.tool === "scribble");
  if (scribble) layers.scribble.src = scribble.image;
  layers.scribble.style.opacity = 0.75;
  $("empty").hidden = regions.length > 0 || !layers.picture.hidden;
  if (focused && document.activeElement === document.body)
    svg.querySelector(`[data-id="${focused}"]`)?.focus();
}

const rect = ([l, t, r, b], w, h, more) => ({
  x: l * w,
  y: t * h,
  width: Math.max(0, r - l) * w,
  height: Math.max(0, b - t) * h,
  ...more,
});

export function boundsOf(region) {
  if (region.box) return region.box;
  if (region.polygon) {
    const x = region.polygon.map((p) => p[0]),
      y = region.polygon.map((p) => p[1]);
    return [Math.min(...x), Math.min(...y), Math.max(...x), Math.max(...y)];
  }
  const canvas = masks.get(region.mask);
  if (canvas && !extents.has(region.mask)) extents.set(region.mask, extent(canvas));
  return extents.get(region.mask) || [0, 0, 1, 1];
}

function drawRegion(region, w, h, number) {
  const colour = D.colour(region),
    words = region.prompt || "no prompt yet";
  const group = shape(
    "g",
    {
      class: `region${region.id === D.view.chosen ? " chosen" : ""}${region.locked ? " locked" : ""}`,
      tabindex: 0,
      role: "button",
      "data-id": region.id,
      "aria-label": `Region ${number}: ${words}${region.locked ? ", locked" : ""}`,
    },
    svg,
  );
  const style = { class: "edge", fill: colour, stroke: colour };
  if (region.box) shape("rect", rect(region.box, w, h, style), group);
  else if (region.polygon)
    shape(
      "polygon",
      { points: region.polygon.map(([x, y]) => `${x * w},${y * h}`).join(" "), ...style },
      group,
    );
  else {
    const image = shape(
      "image",
      { x: 0, y: 0, width: w, height: h, preserveAspectRatio: "none", opacity: 0.5 },
      group,
    );
    const canvas = masks.get(region.mask);
    if (S.live && S.live.id === region.id)
      image.setAttribute("href", tinted(S.live.canvas, colour));
    else if (canvas) image.setAttribute("href", tinted(canvas, colour, region.mask));
    else
      loaded(region.mask).then((found) => {
        const own = canvasOf(D.doc.width, D.doc.height);
        own.getContext("2d").drawImage(found, 0, 0, own.width, own.height);
        masks.set(region.mask, own);
        draw();
      });
    image.setAttribute("pointer-events", "none");
    shape(
      "rect",
      rect(boundsOf(region), w, h, {
        fill: colour,
        "fill-opacity": 0.001,
        stroke: region.id === D.view.chosen ? colour : "none",
        "stroke-dasharray": "3 3",
      }),
      group,
    );
  }
  const [l, t, r] = boundsOf(region),
    room = Math.max(0, (r - l) * w - 12),
    text = `${number}  ${words}`;
  const shown = text.slice(0, Math.max(1, Math.floor(room / 6.6)));
  const plate = shape(
    "rect",
    {
      x: l * w + 1,
      y: t * h + 1,
      height: 20,
      width: Math.min(room + 10, shown.length * 6.9 + 12),
      rx: 4,
      fill: colour,
    },
    group,
  );
  const label = shape(
    "text",
    { x: l * w + 7, y: t * h + 15, class: "tag-name", "font-size": 12 },
    group,
  );
  label.textContent =
    shown.length < text.length && shown.length > 2 ? `${shown.slice(0, -1)}…` : shown;
  plate.setAttribute("width", Math.min(room + 11, label.getComputedTextLength() + 12));
  group.addEventListener("focus", () => {
    if (D.view.chosen !== region.id) {
      D.view.chosen = region.id;
      queueMicrotask(() => {
        D.refresh();
        focusChosen();
      });
    }
  });
}

function drawHandles(region, w, h) {
  const put = (x, y, handle) =>
    shape(
      "circle",
      {
        cx: x * w,
        cy: y * h,
        r: matchMedia("(pointer: coarse)").matches ? 11 : 6,
        class: "handle",
        "data-handle": handle,
      },
      svg,
    );
  if (region.box) {
    const [l, t, r, b] = region.box;
    for (const [name, x, y] of [
      ["lt", l, t],
      ["rt", r, t],
      ["lb", l, b],
      ["rb", r, b],
    ])
      put(x, y, name);
  }
  if (region.polygon) region.polygon.forEach(([x, y], index) => put(x, y, `p${index}`));
}

function extent(canvas) {
  const { width, height } = canvas,
    data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let [l, t, r, b] = [width, height, 0, 0];
  for (let i = 3, n = 0; i < data.length; i += 4, n++)
    if (data[i] > 12) {
      const x = n % width,
        y = (n - x) / width;
      l = Math.min(l, x);
      t = Math.min(t, y);
      r = Math.max(r, x + 1);
      b = Math.max(b, y + 1);
    }
  return r ? [l / width, t / height, r / width, b / height] : null;
}

export function focusChosen() {
  svg.querySelector(`[data-id="${D.view.chosen}"]`)?.focus({ preventScroll: true });
}
