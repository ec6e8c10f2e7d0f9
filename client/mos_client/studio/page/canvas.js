// Tools on the canvas: mouse, touch, pen and keys.
import { say } from "/shared/api.js";
import * as D from "./document.js";
import { canvasOf, dab, loaded, moved, stroke } from "./masks.js";
import {
  S,
  at,
  boundsOf,
  draw,
  fit,
  focusChosen,
  layers,
  masks,
  paper,
  snapBox,
  snapPoint,
  svg,
  unit,
} from "./surface.js";

export {
  fit,
  fitIfResized,
  focusChosen,
  referenceOpacity,
  showPicture,
  showReference,
} from "./surface.js";

const $ = (id) => document.getElementById(id);

const TOOLS = [
  ["select", "Select", "V"],
  ["box", "Box", "R"],
  ["polygon", "Polygon", "P"],
  ["brush", "Brush", "B"],
  ["eraser", "Eraser", "E"],
  ["scribble", "Scribble", "S"],
];

export function start(pixels) {
  S.cell = pixels;
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
  S.poly = null;
  D.view.tool = tool;
  for (const [each] of TOOLS) $(`tool-${each}`).setAttribute("aria-pressed", each === tool);
  $("brush").hidden = !["brush", "eraser", "scribble"].includes(tool);
  paper.classList.toggle("drawing", tool !== "select");
  draw();
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
    S.drag = { kind: "box", from: snapPoint(point) };
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
    S.drag = { kind: "handle", handle, id: D.view.chosen };
    return;
  }
  if (hit) {
    const id = Number(hit.dataset.id);
    D.choose(id);
    focusChosen();
    const region = D.chosen();
    if (!region.locked)
      S.drag = { kind: "move", id, from: point, first: JSON.parse(JSON.stringify(region)) };
    event.preventDefault();
    return;
  }
  D.choose(null);
  S.drag = { kind: "box", from: snapPoint(point) };
}

function move(event) {
  if (!S.drag) return;
  const point = at(event);
  if (S.drag.kind === "box") {
    const to = snapPoint(point);
    S.pending = [
      Math.min(S.drag.from[0], to[0]),
      Math.min(S.drag.from[1], to[1]),
      Math.max(S.drag.from[0], to[0]),
      Math.max(S.drag.from[1], to[1]),
    ];
    draw();
  } else if (S.drag.kind === "stroke") continueStroke(point);
  else if (S.drag.kind === "handle")
    D.change(`handle ${S.drag.id}`, () => resizeBy(D.chosen(), S.drag.handle, snapPoint(point)));
  else if (S.drag.kind === "move")
    D.change(`move ${S.drag.id}`, () =>
      place(D.chosen(), S.drag.first, point[0] - S.drag.from[0], point[1] - S.drag.from[1]),
    );
}

function up(event) {
  if (!S.drag) return;
  const done = S.drag;
  S.drag = null;
  if (done.kind === "box" && S.pending) {
    const [l, t, r, b] = S.pending;
    S.pending = null;
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
    S.poly &&
    Math.hypot(
      (point[0] - S.poly[0][0]) * D.doc.width * S.scale,
      (point[1] - S.poly[0][1]) * D.doc.height * S.scale,
    ) < 12;
  if (near && S.poly.length >= 3) {
    closePolygon();
    return;
  }
  S.poly = [...(S.poly || []), snapPoint(point)];
  draw();
}

function closePolygon() {
  if (!S.poly) return;
  const corners = S.poly.filter(
    (p, i) => i === 0 || p[0] !== S.poly[i - 1][0] || p[1] !== S.poly[i - 1][1],
  );
  S.poly = null;
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
    S.live = { scribble: true, canvas };
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
    S.live = { id: region.id, canvas, erase: tool === "eraser" };
  }
  S.drag = { kind: "stroke", last: pixels(point) };
  const [radius, soft] = pen();
  dab(
    S.live.canvas.getContext("2d"),
    ...pixels(point),
    S.live.scribble ? Math.max(0.75, radius / 8) : radius,
    S.live.scribble ? 0 : soft,
    S.live.erase,
  );
  draw();
}

function continueStroke(point) {
  const to = pixels(point),
    [radius, soft] = pen();
  stroke(
    S.live.canvas.getContext("2d"),
    S.drag.last,
    to,
    S.live.scribble ? Math.max(0.75, radius / 8) : radius,
    S.live.scribble ? 0 : soft,
    S.live.erase,
  );
  S.drag.last = to;
  if (S.live.scribble) {
    layers.scribble.hidden = false;
    layers.scribble.src = S.live.canvas.toDataURL();
  } else draw();
}

function endStroke() {
  const { id, canvas, scribble } = S.live,
    url = canvas.toDataURL("image/png");
  S.live = null;
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

function keys(event) {
  const region = D.chosen();
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
  if (S.poly && event.key === "Enter" && !typing) {
    event.preventDefault();
    closePolygon();
    return;
  }
  if (event.key === "Escape" && S.poly) {
    S.poly = null;
    draw();
  }
  if (typing || command || event.altKey || $("page-draw").hidden) return;
  const tool = TOOLS.find(([, , key]) => key.toLowerCase() === event.key.toLowerCase());
  if (tool) use(tool[0]);
}
