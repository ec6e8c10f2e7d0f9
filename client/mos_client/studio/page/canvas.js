// The canvas: regions as SVG over the picture, drawn with mouse, touch, pen or keys.
import * as D from "./document.js";
import { say } from "/shared/api.js";
import { canvasOf, dab, loaded, moved, stroke, tinted } from "./masks.js";

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const TOOLS = [
  ["select", "Select", "V"],
  ["box", "Box", "R"],
  ["polygon", "Polygon", "P"],
  ["brush", "Brush", "B"],
  ["eraser", "Eraser", "E"],
  ["scribble", "Scribble", "S"],
];
const paper = $("paper");
const svg = document.createElementNS(SVG, "svg");
const layers = { picture: new Image(), reference: new Image(), scribble: new Image() };
let cell = 8,
  scale = 1,
  pending = null,
  poly = null,
  drag = null,
  live = null;
const masks = new Map(),
  extents = new Map();

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

export function start(pixels) {
  cell = pixels;
  for (const image of Object.values(layers)) {
    image.alt = "";
    image.hidden = true;
    image.draggable = false;
    paper.append(image);
  }
  layers.reference.style.opacity = 0.5;
  svg.setAttribute("role", "group");
  svg.setAttribute(
    "aria-label",
    "Regions; arrow keys move the chosen one, with Alt they resize it",
  );
  paper.append(svg);
  for (const [tool, name, key] of TOOLS) {
    const button = document.createElement("button");
    button.textContent = name;
    button.id = `tool-${tool}`;
    button.title = `${name} (${key})`;
    button.addEventListener("click", () => use(tool));
    // By keyboard alone: Enter on a shape's tool puts one in the middle.
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      use(tool);
      if (tool === "box") {
        D.addRegion({ box: snapBox([0.25, 0.25, 0.75, 0.75]) });
        use("select");
        focusChosen();
      }
      if (tool === "polygon") {
        D.addRegion({
          polygon: [
            [0.5, 0.2],
            [0.8, 0.8],
            [0.2, 0.8],
          ],
        });
        use("select");
        focusChosen();
      }
    });
    $("tools").append(button);
  }
  svg.addEventListener("pointerdown", down);
  svg.addEventListener("pointermove", move);
  svg.addEventListener("pointerup", up);
  svg.addEventListener("pointercancel", up);
  svg.addEventListener("dblclick", () => closePolygon());
  svg.addEventListener("keydown", keys);
  document.addEventListener("keydown", shortcuts);
  new ResizeObserver(fit).observe(paper.parentElement);
  addEventListener("resize", fit);
  $("outlines").addEventListener("change", () =>
    paper.classList.toggle("no-outlines", !$("outlines").checked),
  );
  D.onChange(draw);
  use("select");
}

function use(tool) {
  poly = null;
  D.view.tool = tool;
  for (const [each] of TOOLS) $(`tool-${each}`).setAttribute("aria-pressed", each === tool);
  $("brush").hidden = !["brush", "eraser", "scribble"].includes(tool);
  paper.classList.toggle("drawing", tool !== "select");
  draw();
}

export function fit() {
  if (!D.doc) return;
  const well = paper.parentElement,
    wide = well.clientWidth - (innerWidth <= 900 ? 24 : 64);
  const high = innerWidth <= 900 ? Math.min(innerHeight * 0.6, wide * 1.4) : well.clientHeight - 64;
  scale = Math.max(0.05, Math.min(wide / D.doc.width, high / D.doc.height));
  paper.style.width = `${D.doc.width * scale}px`;
  paper.style.height = `${D.doc.height * scale}px`;
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
    ? Math.min(1, Math.max(0, (Math.round((value * side) / cell) * cell) / side))
    : value;
const snapPoint = ([x, y]) => [snapped(x, D.doc.width), snapped(y, D.doc.height)];
const snapBox = ([l, t, r, b]) => [...snapPoint([l, t]), ...snapPoint([r, b])];
const unit = () => [cell / D.doc.width, cell / D.doc.height];

function at(event) {
  const box = svg.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((v) =>
    Math.min(1, Math.max(0, v)),
  );
}

function draw() {
  if (!D.doc) return;
  const focused = document.activeElement?.closest?.(".region")?.dataset.id;
  const { width, height, regions } = D.doc,
    w = width * scale,
    h = height * scale;
  svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
  svg.replaceChildren();
  const order = [...regions].sort((a, b) => a.z - b.z);
  order.forEach((region) => {
    if (!region.hidden) drawRegion(region, w, h, regions.indexOf(region) + 1);
  });
  if (pending)
    shape(
      "rect",
      rect(pending, w, h, {
        fill: "none",
        stroke: "var(--accent)",
        "stroke-width": 2,
        "stroke-dasharray": "5 4",
      }),
      svg,
    );
  if (poly)
    shape(
      "polyline",
      {
        points: poly.map(([x, y]) => `${x * w},${y * h}`).join(" "),
        fill: "none",
        stroke: "var(--accent)",
        "stroke-width": 2,
      },
      svg,
    );
  if (poly) shape("circle", { cx: poly[0][0] * w, cy: poly[0][1] * h, r: 7, class: "handle" }, svg);
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
    if (live && live.id === region.id) image.setAttribute("href", tinted(live.canvas, colour));
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

function down(event) {
  if (event.button) return;
  const point = at(event),
    tool = D.view.tool;
  // A mask under the pointer counts where it covers.
  const hit = event.target.closest(".region"),
    handle = event.target.dataset?.handle;
  if (event.pointerId !== undefined)
    try {
      svg.setPointerCapture(event.pointerId);
    } catch {
      /* a synthetic pointer */
    }
  D.settle();
  if (tool === "box") {
    drag = { kind: "box", from: snapPoint(point) };
    return;
  }
  if (tool === "polygon") {
    addCorner(point);
    return;
  }
  if (["brush", "eraser", "scribble"].includes(tool)) {
    beginStroke(tool, point);
    return;
  }
  if (handle) {
    drag = { kind: "handle", handle, id: D.view.chosen };
    return;
  }
  if (hit) {
    const id = Number(hit.dataset.id);
    D.choose(id);
    focusChosen();
    const region = D.chosen();
    if (!region.locked)
      drag = { kind: "move", id, from: point, first: JSON.parse(JSON.stringify(region)) };
    event.preventDefault();
    return;
  }
  D.choose(null);
  drag = { kind: "box", from: snapPoint(point) };
}

function move(event) {
  if (!drag) return;
  const point = at(event);
  if (drag.kind === "box") {
    const to = snapPoint(point);
    pending = [
      Math.min(drag.from[0], to[0]),
      Math.min(drag.from[1], to[1]),
      Math.max(drag.from[0], to[0]),
      Math.max(drag.from[1], to[1]),
    ];
    draw();
  } else if (drag.kind === "stroke") continueStroke(point);
  else if (drag.kind === "handle")
    D.change(`handle ${drag.id}`, () => resizeBy(D.chosen(), drag.handle, snapPoint(point)));
  else if (drag.kind === "move")
    D.change(`move ${drag.id}`, () =>
      place(D.chosen(), drag.first, point[0] - drag.from[0], point[1] - drag.from[1]),
    );
}

function up(event) {
  if (!drag) return;
  const done = drag;
  drag = null;
  if (done.kind === "box" && pending) {
    const [l, t, r, b] = pending;
    pending = null;
    if ((r - l) * D.doc.width >= 1 && (b - t) * D.doc.height >= 1) {
      D.addRegion({ box: [l, t, r, b] });
      use("select");
      $("region-prompt").focus({ preventScroll: true });
    } else draw();
  }
  if (done.kind === "stroke") endStroke();
  if (done.kind === "move" && done.first.mask) {
    const [x, y] = at(event),
      one = D.chosen();
    moved(done.first.mask, x - done.from[0], y - done.from[1]).then((mask) =>
      D.change("", () => {
        const region = D.doc.regions.find((each) => each.id === one.id);
        if (region) region.mask = mask;
      }),
    );
  }
  D.settle();
}

function place(region, first, dx, dy) {
  const [l, t, r, b] = boundsOf(first);
  dx = Math.min(1 - r, Math.max(-l, dx));
  dy = Math.min(1 - b, Math.max(-t, dy));
  const [x, y] = snapPoint([l + dx, t + dy]);
  dx = Math.min(1 - r, x - l);
  dy = Math.min(1 - b, y - t);
  if (first.box) region.box = [l + dx, t + dy, r + dx, b + dy];
  if (first.polygon) region.polygon = first.polygon.map(([px, py]) => [px + dx, py + dy]);
}

function resizeBy(region, handle, [x, y]) {
  if (handle.startsWith("p")) {
    region.polygon[Number(handle.slice(1))] = [x, y];
    return;
  }
  let [l, t, r, b] = region.box;
  const [dx, dy] = unit();
  if (handle[0] === "l") l = Math.min(x, r - dx);
  else r = Math.max(x, l + dx);
  if (handle[1] === "t") t = Math.min(y, b - dy);
  else b = Math.max(y, t + dy);
  region.box = [Math.max(0, l), Math.max(0, t), Math.min(1, r), Math.min(1, b)];
}

function addCorner(point) {
  const near =
    poly &&
    Math.hypot(
      (point[0] - poly[0][0]) * D.doc.width * scale,
      (point[1] - poly[0][1]) * D.doc.height * scale,
    ) < 12;
  if (near && poly.length >= 3) {
    closePolygon();
    return;
  }
  poly = [...(poly || []), snapPoint(point)];
  draw();
}
function closePolygon() {
  if (!poly) return;
  const corners = poly.filter(
    (p, i) => i === 0 || p[0] !== poly[i - 1][0] || p[1] !== poly[i - 1][1],
  );
  poly = null;
  if (corners.length >= 3) {
    D.addRegion({ polygon: corners });
    use("select");
    $("region-prompt").focus({ preventScroll: true });
  } else draw();
}

const pen = () => [
  Math.max(1, (Number($("brush-size").value) / 200) * Math.min(D.doc.width, D.doc.height)),
  Number($("brush-soft").value) / 100,
];
const pixels = ([x, y]) => [x * D.doc.width, y * D.doc.height];

function beginStroke(tool, point) {
  let region = D.chosen();
  const canvas = canvasOf(D.doc.width, D.doc.height);
  if (tool === "scribble") {
    const drawn = D.doc.controls.find((each) => each.drawn);
    const context = canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    live = { scribble: true, canvas };
    if (drawn)
      loaded(drawn.image).then((image) =>
        context.drawImage(image, 0, 0, canvas.width, canvas.height),
      );
  } else {
    if (!region?.mask && tool === "eraser") {
      say("Choose a brushed region to erase in.");
      return;
    }
    if (region?.locked) {
      say("The region is locked.");
      return;
    }
    if (!region?.mask) {
      D.addRegion({ mask: canvas.toDataURL("image/png") });
      region = D.chosen();
    }
    const before = masks.get(region.mask);
    if (before) canvas.getContext("2d").drawImage(before, 0, 0);
    live = { id: region.id, canvas, erase: tool === "eraser" };
  }
  drag = { kind: "stroke", last: pixels(point) };
  const [radius, soft] = pen();
  dab(
    live.canvas.getContext("2d"),
    ...pixels(point),
    live.scribble ? Math.max(0.75, radius / 8) : radius,
    live.scribble ? 0 : soft,
    live.erase,
  );
  draw();
}
function continueStroke(point) {
  const to = pixels(point),
    [radius, soft] = pen();
  stroke(
    live.canvas.getContext("2d"),
    drag.last,
    to,
    live.scribble ? Math.max(0.75, radius / 8) : radius,
    live.scribble ? 0 : soft,
    live.erase,
  );
  drag.last = to;
  if (live.scribble) {
    layers.scribble.hidden = false;
    layers.scribble.src = live.canvas.toDataURL();
  } else draw();
}
function endStroke() {
  const { id, canvas, scribble } = live,
    url = canvas.toDataURL("image/png");
  live = null;
  if (scribble) {
    D.change("", (d) => {
      const own = d.controls.find((each) => each.drawn);
      if (own) own.image = url;
      else d.controls.push({ model: "mini-adapter", weight: 1, until: 1, image: url, drawn: true });
    });
    return;
  }
  masks.set(url, canvas);
  D.change("", (d) => {
    const region = d.regions.find((each) => each.id === id);
    if (region) region.mask = url;
  });
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

function keys(event) {
  const region = D.chosen();
  if (poly && event.key === "Enter") {
    closePolygon();
    event.preventDefault();
    return;
  }
  if (!region) return;
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[
    event.key
  ];
  const [ux, uy] = unit();
  if (arrows && !region.locked) {
    event.preventDefault();
    const dx = arrows[0] * ux,
      dy = arrows[1] * uy;
    if (event.altKey || event.shiftKey) {
      if (region.box)
        D.change(`size ${region.id}`, () =>
          resizeBy(D.chosen(), "rb", [D.chosen().box[2] + dx, D.chosen().box[3] + dy]),
        );
    } else if (region.mask)
      moved(region.mask, dx, dy).then((mask) => {
        D.change(`move ${region.id}`, () => {
          D.chosen().mask = mask;
        });
        focusChosen();
      });
    else
      D.change(`move ${region.id}`, () =>
        place(D.chosen(), JSON.parse(JSON.stringify(D.chosen())), dx, dy),
      );
    focusChosen();
  } else if (event.key === "Delete" || event.key === "Backspace") {
    event.preventDefault();
    if (!region.locked) {
      D.removeRegion(region.id);
      say("Region deleted.");
    }
  } else if (event.key === "Enter") {
    event.preventDefault();
    $("region-prompt").focus();
  } else if (event.key === "]") D.reorder(region.id, 1);
  else if (event.key === "[") D.reorder(region.id, -1);
  else if (event.key === "Escape") D.choose(null);
}

function shortcuts(event) {
  const typing = event.target.closest?.("input, textarea, select, dialog");
  const command = event.ctrlKey || event.metaKey;
  if (command && !typing && event.key.toLowerCase() === "z") {
    event.preventDefault();
    (event.shiftKey ? D.redo : D.undo)();
    return;
  }
  if (command && !typing && event.key.toLowerCase() === "y") {
    event.preventDefault();
    D.redo();
    return;
  }
  if (command && !typing && event.key.toLowerCase() === "d" && D.view.chosen) {
    event.preventDefault();
    D.duplicate(D.view.chosen);
    focusChosen();
    return;
  }
  if (event.key === "Escape" && poly) {
    poly = null;
    draw();
  }
  if (typing || command || event.altKey || $("page-draw").hidden) return;
  const tool = TOOLS.find(([, , key]) => key.toLowerCase() === event.key.toLowerCase());
  if (tool) use(tool[0]);
}
