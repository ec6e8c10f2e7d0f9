// The page: what it needs once, its tabs, its concepts, files dropped on it.
import { asUrl, chooseFile, element, get, problem, put, safely, say } from "/shared/api.js";
import * as canvas from "./canvas.js";
import * as D from "./document.js";
import * as gallery from "./gallery.js";
import { icon } from "./icons.js";
import { upload } from "./masks.js";
import { setConcepts } from "./prompt.js";
import * as releases from "./releases.js";
import * as sampling from "./sampling.js";
import * as settings from "./settings.js";
import * as tune from "./tune.js";

const $ = (id) => document.getElementById(id);
history.replaceState(null, "", "/");
let about = null,
  cards = [];
const TABS = ["draw", "tune", "releases"];

async function begin() {
  about = await get("/api/studio");
  $("site").textContent = about.site ? `site ${about.site}` : "";
  $("model").replaceChildren(
    ...about.releases.map((version, index) =>
      element(
        "option",
        { value: String(version) },
        `Release ${version}${index ? "" : " (newest)"}`,
      ),
    ),
    element("option", { value: "own" }, "Own concepts, unfused"),
    element("option", { value: "" }, "The base alone"),
  );
  D.begin(about.size);
  settings.start(about);
  canvas.start(Math.max(1, about.cell));
  gallery.start();
  canvas.fit();
  D.refresh();
  await Promise.all([concepts(), gallery.reload(), savedLayouts()]);
  sampling.start(() => {
    if (cards.some((card) => !card.thumbnail)) concepts().catch(problem);
  });
}

async function concepts() {
  cards = (await get(`/api/concepts?model=${$("model").value}`)).concepts;
  setConcepts(cards);
  const focused = document.activeElement?.dataset?.concept;
  $("concepts").replaceChildren(
    ...(cards.length
      ? cards.map(card)
      : [element("li", { class: "hint" }, "No concepts in this model.")]),
  );
  if (focused)
    $("concepts").querySelector(`[data-concept="${focused}"]`)?.focus({ preventScroll: true });
}

function card(each) {
  const short =
    cards.filter((other) => other.name === each.name).length === 1 ? each.name : each.key;
  const lines = [
    each.class_word,
    each.site ? `site ${each.site}` : each.state,
    each.licence || (each.site ? "" : "no licence given"),
  ]
    .filter(Boolean)
    .join(" · ");
  const picture = each.thumbnail
    ? element("img", { src: each.thumbnail, alt: "" })
    : element("span", { class: "blank" });
  const signer = each.signer ? `signed by ${each.signer.slice(0, 8)}` : "not signed";
  return element(
    "li",
    {},
    element(
      "button",
      {
        class: "concept",
        "data-concept": each.key,
        title: `Put <${short}> into the chosen region, or draw one`,
        onclick: () => put_(short),
      },
      picture,
      element(
        "span",
        {},
        element("b", {}, `<${short}>`),
        element("small", {}, lines),
        element("small", {}, signer),
      ),
    ),
  );
}

function put_(name) {
  const region = D.chosen();
  if (region)
    D.change("", () => {
      const own = D.chosen();
      own.prompt = own.prompt.trim() ? `${own.prompt.trim()} <${name}>` : `a photo of <${name}>`;
    });
  else {
    // The next free column of a row of equal boxes.
    const count = D.doc.regions.length,
      wide = 1 / 3,
      left = Math.min(1 - wide, (count % 3) * wide);
    D.addRegion({ box: [left, 0, left + wide, 1] }, `a photo of <${name}>`);
  }
  say(`<${name}> is in region ${D.doc.regions.indexOf(D.chosen()) + 1}`);
}

async function savedLayouts() {
  const { names } = await get("/api/layouts");
  $("saved").replaceChildren(
    element("option", { value: "" }, "Open…"),
    ...names.map((name) => element("option", {}, name)),
  );
}

function showTab(name) {
  for (const tab of TABS) {
    const chosen = tab === name;
    $(`tab-${tab}`).setAttribute("aria-selected", chosen);
    $(`tab-${tab}`).tabIndex = chosen ? 0 : -1;
    $(`page-${tab}`).hidden = !chosen;
  }
  if (name === "draw") canvas.fit();
  if (name === "releases") releases.open().catch(problem);
  if (name === "tune") tune.open().catch(problem);
}

for (const tab of TABS) {
  $(`tab-${tab}`).addEventListener("click", () => showTab(tab));
  $(`tab-${tab}`).addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: TABS.length - 1 }[event.key];
    if (!step) return;
    const next = TABS[(TABS.indexOf(tab) + step) % TABS.length];
    showTab(next);
    $(`tab-${next}`).focus();
  });
}
$("undo").append(icon("undo"));
$("redo").append(icon("redo"));
$("undo").addEventListener("click", D.undo);
$("redo").addEventListener("click", D.redo);
$("model").addEventListener("change", safely(concepts));
$("save-layout").addEventListener(
  "click",
  safely(async () => {
    const { file } = await put(
      `/api/layouts/${encodeURIComponent($("layout-name").value.trim() || "layout")}`,
      await D.layoutOf(D.doc, upload),
    );
    say(`Saved: ${file}`);
    $("check").textContent = "";
    $("status").textContent = "layout saved";
    await savedLayouts();
  }),
);
$("saved").addEventListener(
  "change",
  safely(async () => {
    if ($("saved").value) {
      const name = $("saved").value;
      await gallery.takeUp(await get(`/api/layouts/${name}`));
      $("layout-name").value = name;
      $("saved").value = "";
    }
  }),
);
$("open-file").addEventListener(
  "click",
  safely(async () => {
    const file = await chooseFile(".json,.png");
    if (file) await gallery.openFile(file);
  }),
);
$("new-layout").addEventListener("click", () => D.replaceBy(D.fresh(about.size)));
$("reference").addEventListener(
  "click",
  safely(async () => {
    const file = await chooseFile("image/*");
    canvas.showReference(file ? await asUrl(file) : null);
  }),
);
$("reference-opacity").addEventListener("input", () =>
  canvas.referenceOpacity($("reference-opacity").value / 100),
);
D.onChange(() => canvas.fitIfResized());
const stage = document.querySelector(".stage");
stage.addEventListener("dragover", (event) => event.preventDefault());
stage.addEventListener(
  "drop",
  safely(async (event) => {
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (file) await gallery.openFile(file);
  }),
);

begin().catch(problem);
