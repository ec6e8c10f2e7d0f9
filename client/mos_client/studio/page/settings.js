// The right side: all that the document and the order say, and what the defaults mean.
import * as D from "./document.js";
import { asUrl, chooseFile, element, safely } from "/shared/api.js";
import { icon } from "./icons.js";
import { canvasOf, loaded } from "./masks.js";
import { promptField } from "./prompt.js";

const $ = (id) => document.getElementById(id);
const fields = {};
let about = null;
const MEANING = {
  steps: ["Steps", "More steps, finer pictures and more time.", { min: 1, max: 1000, step: 1 }],
  guidance: [
    "Guidance",
    "How strictly the prompt is followed; 1 is not at all beyond the model itself.",
    { min: 1, step: 0.5 },
  ],
  scheduler: ["Scheduler", "The method that turns noise into a picture.", {}],
  lead: [
    "Lead",
    "First share of the steps in which the picture's prompt lays out the whole.",
    { min: 0, max: 1, step: 0.05 },
  ],
  isolation: [
    "Isolation",
    "Share of the steps in which a region does not see the others.",
    { min: 0, max: 1, step: 0.05 },
  ],
  base_ratio: [
    "Prompt inside regions",
    "Weight of the picture's prompt inside the regions.",
    { min: 0, max: 1, step: 0.05 },
  ],
  exclude_others: [
    "Exclude others",
    "Other regions' concepts become each region's negative prompt.",
    {},
  ],
};

export function start(studio) {
  about = studio;
  const bind = (id, of, key) => {
    const field = promptField($(id));
    fields[id] = field;
    $(id).addEventListener("input", () =>
      D.change(`${id} ${D.view.chosen}`, () => {
        const target = of();
        if (target) target[key] = $(id).value;
      }),
    );
    $(id).addEventListener("blur", D.settle);
  };
  bind("prompt", () => D.doc, "prompt");
  bind("negative", () => D.doc, "negative");
  bind("region-prompt", D.chosen, "prompt");
  bind("region-negative", D.chosen, "negative");
  const number = (id, of, key) =>
    $(id).addEventListener("input", () => {
      const value = Number($(id).value);
      if ($(id).value !== "" && Number.isFinite(value))
        D.change(`${id} ${D.view.chosen}`, () => {
          const target = of();
          if (target) target[key] = value;
        });
    });
  number("feather", D.chosen, "feather");
  number("weight", D.chosen, "weight");
  number("z", D.chosen, "z");
  for (const side of ["width", "height"]) {
    $(side).step = Math.max(8, about.cell);
    $(side).addEventListener("change", () => {
      const unit = Math.max(8, about.cell),
        value = Math.max(unit, Math.round(Number($(side).value) / unit) * unit);
      $(side).value = value;
      D.change("", (d) => {
        d[side] = value;
      });
    });
  }
  for (const [key, [name, meaning, limits]] of Object.entries(MEANING))
    $("settings").append(setting(key, name, meaning, limits));
  D.onChange(show);
}

function setting(key, name, meaning, limits) {
  const own = about.settings[key],
    id = `set-${key}`;
  let input;
  if (key === "scheduler")
    input = element(
      "select",
      { id },
      ...about.schedulers.map((each) => element("option", { value: each }, each)),
    );
  else if (key === "exclude_others") input = element("input", { id, type: "checkbox" });
  else input = element("input", { id, type: "number", ...limits });
  if (input.type === "checkbox") input.checked = own;
  else input.value = own;
  const usual = typeof own === "boolean" ? (own ? "on" : "off") : own;
  const label =
    input.type === "checkbox"
      ? element("label", { class: "check" }, input, name)
      : element("label", { class: "field" }, name, " ", input);
  return element(
    "div",
    {},
    label,
    element("p", { class: "hint" }, `${meaning} Default: ${usual}.`),
  );
}

export function chosenSettings() {
  const given = {};
  for (const key of Object.keys(MEANING)) {
    const input = $(`set-${key}`),
      value =
        input.type === "checkbox"
          ? input.checked
          : input.type === "number"
            ? Number(input.value)
            : input.value;
    if (input.value !== "" && value !== about.settings[key]) given[key] = value;
  }
  return given;
}
export function setSettings(values) {
  for (const key of Object.keys(MEANING)) {
    const input = $(`set-${key}`),
      value = values[key] ?? about.settings[key];
    if (input.type === "checkbox") input.checked = value;
    else input.value = value;
  }
}

function show() {
  const { doc } = D,
    region = D.chosen();
  fields.prompt.set(doc.prompt);
  fields.negative.set(doc.negative);
  for (const side of ["width", "height"])
    if (document.activeElement !== $(side)) $(side).value = doc[side];
  $("region-panel").hidden = !region;
  if (region) {
    $("region-number").textContent = `${doc.regions.indexOf(region) + 1} of ${doc.regions.length}`;
    fields["region-prompt"].set(region.prompt);
    fields["region-negative"].set(region.negative);
    for (const key of ["feather", "weight", "z"])
      if (document.activeElement !== $(key)) $(key).value = region[key];
    $("feather-out").textContent = region.feather
      ? `${Math.round(region.feather * 1000) / 10}%`
      : "none";
  }
  $("undo").disabled = !D.canUndo();
  $("redo").disabled = !D.canRedo();
  showRegions();
  showControls();
}

function showRegions() {
  const { doc } = D;
  const focused = document.activeElement?.dataset?.key;
  $("count").textContent = doc.regions.length || "";
  const items = [...doc.regions]
    .reverse()
    .sort((a, b) => b.z - a.z)
    .map(regionRow);
  const none = element("li", { class: "hint" }, "None yet: the prompt draws the whole picture.");
  $("regions").replaceChildren(...(items.length ? items : [none]));
  if (focused)
    $("regions").querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
}

function regionRow(region) {
  const number = D.doc.regions.indexOf(region) + 1;
  const chosen = region.id === D.view.chosen;
  const dot = element("i", { class: "dot" });
  dot.style.background = D.colour(region);
  const act = (key, name, label, onclick, pressed) =>
    element(
      "button",
      {
        class: "mini",
        "data-key": `${key}${region.id}`,
        title: label,
        "aria-label": `${label}, region ${number}`,
        "aria-pressed": pressed,
        onclick,
      },
      icon(name),
    );
  const toggle = (key) => () =>
    D.change("", () => {
      const own = D.doc.regions.find((each) => each.id === region.id);
      own[key] = !own[key];
    });
  const more = chosen && [
    act("up", "up", "Bring forward", () => D.reorder(region.id, 1)),
    act("down", "down", "Send back", () => D.reorder(region.id, -1)),
    act("copy", "copy", "Duplicate", () => D.duplicate(region.id)),
    act("bin", "bin", "Delete", () => D.removeRegion(region.id)),
  ];
  return element(
    "li",
    { class: `${chosen ? "chosen" : ""}${region.hidden ? " off" : ""}` },
    element(
      "button",
      {
        class: "pick",
        "data-key": `pick${region.id}`,
        "aria-current": String(chosen),
        onclick: () => D.choose(region.id),
      },
      dot,
      element("span", {}, `${number}\u2002${region.prompt || "no prompt yet"}`),
    ),
    act(
      "hide",
      region.hidden ? "hidden" : "eye",
      "Hide: left out of the picture",
      toggle("hidden"),
      String(region.hidden),
    ),
    act(
      "lock",
      region.locked ? "locked" : "open",
      "Lock: not moved",
      toggle("locked"),
      String(region.locked),
    ),
    more ? element("span", { class: "acts" }, ...more) : null,
  );
}

let shownControls = "";
function showControls() {
  const text = JSON.stringify(D.doc.controls);
  if (text === shownControls) return;
  shownControls = text;
  if (!about.controls.length) {
    $("controls").replaceChildren(
      element("p", { class: "hint" }, "This base has no control models here."),
    );
    return;
  }
  const edit = (index, key) => (event) =>
    D.change(`control ${index} ${key}`, (d) => {
      d.controls[index][key] = key === "model" ? event.target.value : Number(event.target.value);
    });
  const cards = D.doc.controls.map((control, index) =>
    element(
      "div",
      { class: "control" },
      element(
        "div",
        { class: "row" },
        element("img", { src: control.image, alt: `Picture of control ${index + 1}` }),
        element(
          "label",
          { class: "field" },
          "Model ",
          element(
            "select",
            { onchange: edit(index, "model") },
            ...about.controls.map((each) =>
              element("option", { value: each, selected: each === control.model }, each),
            ),
          ),
        ),
      ),
      element(
        "div",
        { class: "row" },
        element(
          "label",
          { class: "field" },
          "Weight ",
          element("input", {
            type: "number",
            min: 0,
            step: 0.1,
            value: control.weight,
            onchange: edit(index, "weight"),
          }),
        ),
        element(
          "label",
          { class: "field" },
          "Until (share of steps) ",
          element("input", {
            type: "number",
            min: 0.05,
            max: 1,
            step: 0.05,
            value: control.until,
            onchange: edit(index, "until"),
          }),
        ),
        element(
          "button",
          {
            "aria-label": `Remove control ${index + 1}`,
            onclick: () => D.change("", (d) => d.controls.splice(index, 1)),
          },
          "×",
        ),
      ),
    ),
  );
  $("controls").replaceChildren(
    ...cards,
    element(
      "div",
      { class: "row" },
      element(
        "button",
        {
          onclick: safely(async () => {
            const file = await chooseFile("image/*");
            if (file) await addControl(await asUrl(file));
          }),
        },
        "Add a picture…",
      ),
      element("button", { onclick: maskControl }, "From regions"),
    ),
    element(
      "p",
      { class: "hint" },
      "mini-adapter follows outlines, white on black: draw them with the Scribble tool. mini-controlnet follows masks, white on black.",
    ),
  );
}

async function addControl(url, model = about.controls[0]) {
  const image = await loaded(url),
    canvas = canvasOf(D.doc.width, D.doc.height);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  D.change("", (d) =>
    d.controls.push({ model, weight: 1, until: 1, image: canvas.toDataURL("image/png") }),
  );
}

function maskControl() {
  const { width, height, regions } = D.doc,
    canvas = canvasOf(width, height),
    pen = canvas.getContext("2d");
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, width, height);
  pen.fillStyle = "#fff";
  for (const { box, polygon, hidden } of regions) {
    if (hidden) continue;
    if (box)
      pen.fillRect(
        box[0] * width,
        box[1] * height,
        (box[2] - box[0]) * width,
        (box[3] - box[1]) * height,
      );
    if (polygon) {
      pen.beginPath();
      polygon.forEach(([x, y]) => pen.lineTo(x * width, y * height));
      pen.fill();
    }
  }
  addControl(canvas.toDataURL("image/png"), about.controls.at(-1));
}
