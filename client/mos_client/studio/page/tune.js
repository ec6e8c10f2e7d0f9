// Concepts that are tuned here: their pictures, settings, runs, and what is shared.
import { chooseFile, element, get, post, problem, put, remove, safely, say } from "/shared/api.js";
import { editMask } from "./mask_editor.js";
import { showRun } from "./tune_run.js";
import { showShare } from "./tune_share.js";
import { onJobs } from "./watch.js";

const page = document.getElementById("page-tune");
let name = null;
let tunings = {};
let facts = null;
let lastState = "";
// Pictures change under the same name, as when a mask is drawn: a new number fetches anew.
let edition = 0;

const root = () => `/api/tunings/${encodeURIComponent(name)}`;

export async function open() {
  const { tunings: found } = await get("/api/tunings");
  if (!found.some((each) => each.name === name)) name = found[0]?.name ?? null;
  await showAll(found);
}

async function showAll(found) {
  const list = element(
    "nav",
    { class: "chips", "aria-label": "Concepts in preparation" },
    ...found.map((each) =>
      element(
        "button",
        {
          class: "chip",
          "aria-pressed": String(each.name === name),
          onclick: safely(async () => {
            name = each.name;
            await open();
          }),
        },
        `<${each.name}>`,
        each.tuned ? element("small", {}, " tuned") : null,
      ),
    ),
    newConcept(found.length === 0),
  );
  const intro = element(
    "header",
    {},
    element("h1", {}, "Tune"),
    element(
      "p",
      { class: "quiet" },
      "Drop some pictures of one subject. They stay on this machine; what may leave is one small file, and only when you share it.",
    ),
  );
  if (!name) {
    page.replaceChildren(intro, list);
    return;
  }
  facts = await get(root());
  page.replaceChildren(
    intro,
    list,
    pictures(),
    settings(),
    element("section", { class: "card", id: "tune-run", "aria-label": "Run" }),
    element("section", { class: "card", id: "tune-share", "aria-label": "Result", hidden: true }),
  );
  parts();
}

function parts() {
  showRun(document.getElementById("tune-run"), root(), name, facts, tunings[name]);
  showShare(document.getElementById("tune-share"), root(), name, facts, edition);
}

function newConcept(first) {
  const field = element("input", {
    id: "new-concept",
    placeholder: "rex",
    "aria-label": "Name of a new concept",
    maxlength: 64,
    size: 12,
  });
  const form = element(
    "form",
    { class: "new-concept" },
    field,
    element("button", { class: first ? "primary" : "" }, "New concept"),
  );
  form.addEventListener(
    "submit",
    safely(async (event) => {
      event.preventDefault();
      name = (await post("/api/tunings", { name: field.value })).name;
      await open();
      document.getElementById("drop").focus();
    }),
  );
  return form;
}

async function again() {
  edition += 1;
  facts = await get(root());
  document.getElementById("tune-pictures").replaceWith(pictures());
  parts();
}

async function add(files) {
  const wrong = [];
  let done = 0;
  for (const file of files) {
    const path = `${root()}/pictures?file=${encodeURIComponent(file.name)}`;
    try {
      await post(path, file);
    } catch (error) {
      wrong.push(`${file.name}: ${error.message}`);
    }
    document.getElementById("drop-text").textContent = `${++done} of ${files.length} added`;
  }
  await again();
  say(`${files.length - wrong.length} files added`);
  if (wrong.length) problem(new Error(wrong.join(" ")));
}

function pictures() {
  const { check, verdict } = facts;
  const drop = element(
    "button",
    { id: "drop", class: "drop" },
    element("b", { id: "drop-text" }, "Drop pictures here, or choose them"),
    element(
      "span",
      {},
      "4 to 20 are good. Masks (a.mask.png) and captions (a.txt) may come along.",
    ),
  );
  drop.addEventListener(
    "click",
    safely(async () => add(await chooseFile("image/*,.txt", true))),
  );
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener(
    "drop",
    safely(async (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      await add([...event.dataTransfer.files]);
    }),
  );
  const used = new Set(check.pictures.map((each) => each.file));
  const others = [
    ...check.left_out.map((note) => ["left out", note]),
    ...check.errors.map((note) => ["to mend", note]),
    ...check.remarks.filter((note) => !used.has(note.file)).map((note) => ["note", note]),
  ].filter(([, note]) => used.size || check.left_out.length || !note.file.startsWith("/"));
  return element(
    "section",
    { class: "card", id: "tune-pictures", "aria-label": "Pictures" },
    element(
      "div",
      { class: "headline" },
      element("h2", {}, "1  Pictures"),
      element(
        "p",
        { class: check.ready ? "ok" : "quiet", id: "verdict", role: "status" },
        used.size ? verdict : "No pictures yet.",
      ),
      element(
        "button",
        {
          class: "danger",
          onclick: safely(async () => {
            if (!confirm(`Delete the pictures of <${name}> here? A tuned concept stays.`)) return;
            await remove(root());
            name = null;
            await open();
          }),
        },
        "Delete pictures",
      ),
    ),
    drop,
    element("div", { class: "shots" }, ...check.pictures.map(shot)),
    others.length
      ? element(
          "ul",
          { class: "notes" },
          ...others.map(([kind, note]) =>
            element(
              "li",
              {},
              element("b", {}, `${kind}: `),
              `${note.file}: ${note.reason}`,
              dropFile(kind, note.file),
            ),
          ),
        )
      : null,
  );
}

function dropFile(kind, file) {
  if (kind !== "left out") return null;
  return element(
    "button",
    {
      class: "small",
      onclick: safely(async () => {
        await remove(`${root()}/pictures/${encodeURIComponent(file)}`);
        await again();
      }),
    },
    "Remove",
  );
}

function shot(each) {
  const file = encodeURIComponent(each.file);
  const remarks = facts.check.remarks.filter((note) => note.file === each.file);
  const caption = element("textarea", {
    rows: 2,
    "aria-label": `Caption of ${each.file}`,
    placeholder: each.captions[0],
  });
  caption.value = each.caption_file ? each.captions[0] : "";
  caption.addEventListener(
    "change",
    safely(async () => {
      await put(`${root()}/captions/${file}`, { caption: caption.value });
      await again();
    }),
  );
  return element(
    "figure",
    { class: "shot" },
    element("img", {
      class: "crops",
      src: `${root()}/crops/${file}?${edition}`,
      alt: `${each.file} as the model sees it: the whole, and crops`,
      loading: "lazy",
    }),
    element(
      "figcaption",
      {},
      element("b", {}, each.file),
      element(
        "small",
        { class: "quiet" },
        ` ${each.size.join("×")} → ${each.bucket.join("×")}${each.enlarged ? ", enlarged" : ""}`,
      ),
      ...remarks.map((note) => element("p", { class: "hint warn" }, note.reason)),
    ),
    caption,
    element(
      "div",
      { class: "actions" },
      element(
        "button",
        {
          class: "small",
          onclick: safely(async () => {
            const drawn = await editMask(
              `${root()}/pictures/${file}`,
              each.mask && `${root()}/masks/${file}`,
              each.file,
            );
            if (drawn === null) return;
            await put(`${root()}/masks/${file}`, drawn);
            await again();
          }),
        },
        each.mask ? "Edit mask" : "Draw mask",
      ),
      element(
        "button",
        {
          class: "small",
          "aria-label": `Remove ${each.file}`,
          onclick: safely(async () => {
            await remove(`${root()}/pictures/${file}`);
            await again();
          }),
        },
        "Remove",
      ),
    ),
  );
}

const FIELDS = [
  ["class_word", "Class word", "Ordinary word for the subject, as cat. Empty: the base finds one."],
  ["licence", "Licence", "Terms of use; they leave with the concept."],
  ["steps", "Steps", "Optimiser steps: more learn more, and learn by heart."],
  ["rank", "Rank", "Of the LoRA pairs: a larger one holds more, in more bytes."],
  ["seed", "Seed", "Decides everything random."],
  ["preview_every", "Preview every", "Steps between two grids; each takes some seconds."],
];

function settings() {
  const given = facts.options;
  const usual = facts.check.settings;
  const inputs = FIELDS.map(([key, label, hint]) => {
    const numeric = !["class_word", "licence"].includes(key);
    const input = element("input", {
      id: `tune-${key}`,
      type: numeric ? "number" : "text",
      min: numeric ? Number(key !== "seed") : undefined,
      placeholder: usual[key] ?? "",
    });
    input.value = given[key] ?? "";
    return element(
      "div",
      {},
      element("label", { class: "field" }, label, " ", input),
      element("p", { class: "hint" }, hint),
    );
  });
  const further = element("textarea", { id: "tune-further", rows: 2, placeholder: "flip=false" });
  further.value = given.further.join("\n");
  const reason = element("p", { class: "problem", role: "alert" });
  const save = async () => {
    const options = { further: further.value.split("\n").filter((line) => line.trim()) };
    for (const [key] of FIELDS) {
      const { value, type } = document.getElementById(`tune-${key}`);
      options[key] = type === "number" ? (value === "" ? null : Number(value)) : value;
    }
    try {
      await put(`${root()}/options`, options);
      reason.textContent = "";
      facts = await get(root());
      document.getElementById("verdict").textContent = facts.verdict;
    } catch (error) {
      reason.textContent = error.message;
    }
  };
  const form = element(
    "section",
    { class: "card", "aria-label": "Settings" },
    element("h2", {}, "2  Settings"),
    element("div", { class: "tune-form" }, ...inputs),
    element(
      "details",
      {},
      element("summary", {}, "Further settings"),
      element(
        "label",
        { class: "field" },
        "One a line, as ",
        element("code", {}, "mos-client tune --set"),
        " takes them",
        further,
      ),
    ),
    reason,
  );
  form.addEventListener("change", safely(save));
  return form;
}

onJobs(async (now) => {
  tunings = now.tunings;
  const state = `${name} ${tunings[name]?.state}`;
  if (!name || page.hidden || !document.getElementById("tune-run")) return;
  if (state !== lastState) facts = await get(root());
  lastState = state;
  parts();
});
