// What is drawn: plain JSON, so that undo, drafts and two tabs are copies of a text.
// A mask is a data URL of a PNG of the layout's size: white, its alpha the coverage.
const DRAFT = "studio-draft";
const MOST_UNDO = 200;
export const COLOURS = [
  "#2f6fde",
  "#c2571a",
  "#2b8a3e",
  "#b8324f",
  "#7a4fbf",
  "#8a5a44",
  "#b5479b",
  "#5c6470",
  "#7d7a12",
  "#11889a",
];

const listeners = new Set();
let past = [],
  future = [],
  lastKind = "";
export let doc = null;
export const view = { chosen: null, tool: "select" };

export const onChange = (listener) => listeners.add(listener);
export function refresh() {
  for (const listener of listeners) listener();
}

export function fresh(size) {
  return {
    prompt: "",
    negative: "",
    width: size[0],
    height: size[1],
    regions: [],
    controls: [],
    next: 1,
  };
}

export function begin(size) {
  let draft = null;
  try {
    draft = JSON.parse(sessionStorage.getItem(DRAFT) || localStorage.getItem(DRAFT));
  } catch {
    /* a broken draft */
  }
  doc = draft && Array.isArray(draft.regions) ? draft : fresh(size);
}

function keep() {
  const text = JSON.stringify(doc);
  try {
    sessionStorage.setItem(DRAFT, text);
    localStorage.setItem(DRAFT, text);
  } catch {
    /* full: no draft */
  }
}

// Changes of one `kind` in a row, such as typing, are one step of undo.
export function change(kind, edit) {
  const before = JSON.stringify(doc);
  edit(doc);
  if (JSON.stringify(doc) === before) return;
  if (!kind || kind !== lastKind) {
    past.push(before);
    past = past.slice(-MOST_UNDO);
  }
  lastKind = kind;
  future = [];
  keep();
  refresh();
}
export function settle() {
  lastKind = "";
}

function step(from, to) {
  if (!from.length) return;
  to.push(JSON.stringify(doc));
  doc = JSON.parse(from.pop());
  if (!chosen()) view.chosen = null;
  settle();
  keep();
  refresh();
}
export const undo = () => step(past, future);
export const redo = () => step(future, past);
export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;

export const chosen = () => doc.regions.find((each) => each.id === view.chosen) || null;
export function choose(id) {
  view.chosen = id;
  refresh();
}
export const colour = (region) => COLOURS[(region.id - 1) % COLOURS.length];

export function addRegion(shape, prompt = "") {
  change("", (d) => {
    const z = 0;
    const region = {
      id: d.next++,
      prompt,
      negative: "",
      feather: 0,
      weight: 1,
      z,
      hidden: false,
      locked: false,
      ...shape,
    };
    d.regions.push(region);
    view.chosen = region.id;
  });
}
export function removeRegion(id) {
  change("", (d) => {
    d.regions = d.regions.filter((each) => each.id !== id);
  });
  view.chosen = null;
  refresh();
}
export function duplicate(id) {
  const found = doc.regions.find((each) => each.id === id);
  if (!found) return;
  const { id: _, ...copy } = JSON.parse(JSON.stringify(found));
  if (copy.box) {
    const [l, t, r, b] = copy.box,
      dx = Math.min(0.06, 1 - r),
      dy = Math.min(0.06, 1 - b);
    copy.box = [l + dx, t + dy, r + dx, b + dy];
  }
  if (copy.polygon)
    copy.polygon = copy.polygon.map(([x, y]) => [Math.min(1, x + 0.04), Math.min(1, y + 0.04)]);
  addRegion(copy, copy.prompt);
}
// Up is over the others: a higher z. Regions keep their order in the layout.
export function reorder(id, by) {
  change("", (d) => {
    const r = d.regions.find((each) => each.id === id);
    if (r) r.z += by;
  });
}

const short = (x) => Math.round(x * 1e5) / 1e5;
export function layoutOf(d, upload) {
  const shown = d.regions.filter((each) => !each.hidden);
  const jobs = [];
  const layout = {
    prompt: d.prompt,
    negative_prompt: d.negative,
    width: d.width,
    height: d.height,
    regions: [],
    controls: [],
  };
  for (const r of shown) {
    const entry = { prompt: r.prompt };
    if (r.box) entry.box = r.box.map(short);
    else if (r.polygon) entry.polygon = r.polygon.map((p) => p.map(short));
    else
      jobs.push(
        upload("mask", r.mask, d).then((name) => {
          entry.mask = name;
        }),
      );
    if (r.negative) entry.negative_prompt = r.negative;
    Object.assign(entry, { feather: r.feather, weight: r.weight, z: r.z });
    layout.regions.push(entry);
  }
  for (const c of d.controls) {
    const entry = { model: c.model, weight: c.weight, until: c.until };
    jobs.push(
      upload("control", c.image, d).then((name) => {
        entry.image = name;
      }),
    );
    layout.controls.push(entry);
  }
  return Promise.all(jobs).then(() => layout);
}

export async function fromLayout(layout, fetchMask, fetchControl) {
  const made = fresh([layout.width, layout.height]);
  made.prompt = layout.prompt;
  made.negative = layout.negative_prompt || "";
  for (const r of layout.regions || []) {
    const region = {
      id: made.next++,
      prompt: r.prompt,
      negative: r.negative_prompt || "",
      feather: r.feather || 0,
      weight: r.weight ?? 1,
      z: r.z || 0,
      hidden: false,
      locked: false,
    };
    if (r.box) region.box = r.box;
    else if (r.polygon) region.polygon = r.polygon;
    else region.mask = await fetchMask(r.mask);
    made.regions.push(region);
  }
  for (const c of layout.controls || [])
    made.controls.push({
      model: c.model,
      weight: c.weight ?? 1,
      until: c.until ?? 1,
      image: await fetchControl(c.image),
    });
  return made;
}

export function replaceBy(made) {
  view.chosen = null;
  change("", (d) => {
    for (const key of Object.keys(d)) delete d[key];
    Object.assign(d, made);
  });
}
