// Pictures sampled: shown on the canvas, their layouts taken back, two compared.
import * as D from "./document.js";
import { element, get, post, problem, remove, safely, say } from "/shared/api.js";
import { showPicture } from "./canvas.js";
import { fetchControl, fetchMask } from "./masks.js";
import { setSettings } from "./settings.js";

const $ = (id) => document.getElementById(id);
let shown = null,
  comparing = null,
  known = null;
const made = new Map();

export function start() {
  $("use-layout").addEventListener(
    "click",
    safely(async () => {
      await takeUp(await get(`/api/pictures/${shown}/layout`));
    }),
  );
  $("hide-shown").addEventListener("click", () => show(null));
  $("delete").addEventListener(
    "click",
    safely(async () => {
      if (!confirm("Delete this picture?")) return;
      await remove(`/api/pictures/${shown}`);
      show(null);
      await reload();
    }),
  );
  $("compare").addEventListener("click", () => {
    comparing = shown;
    $("shown-text").textContent = "Pick a second picture in the gallery.";
    say("Pick a second picture in the gallery.");
  });
  $("compare-dialog")
    .querySelector(".close")
    .addEventListener("click", () => $("compare-dialog").close());
  $("gallery").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const buttons = [...$("gallery").querySelectorAll("button")],
      next = buttons[buttons.indexOf(document.activeElement) + step];
    if (step && next) {
      next.focus();
      event.preventDefault();
    }
  });
}

export async function reload() {
  const { pictures } = await get("/api/pictures");
  if (pictures.join() === known) return;
  known = pictures.join();
  $("gallery").replaceChildren(
    ...(pictures.length
      ? pictures.map((id, index) =>
          element(
            "li",
            {},
            element(
              "button",
              {
                "data-id": id,
                "aria-pressed": String(id === shown),
                "aria-label": `Picture ${index + 1}, ${when(id)}`,
                onclick: safely(() => pick(id)),
              },
              element("img", { src: `/api/pictures/${id}`, alt: "", loading: "lazy" }),
            ),
          ),
        )
      : [element("li", { class: "none" }, "Pictures appear here, each with its layout.")]),
  );
}

function when(id) {
  const [, day, time] = /^(\d{8})-(\d{6})/.exec(id) || [];
  return day
    ? `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)} ${time.slice(0, 2)}:${time.slice(2, 4)}`
    : id;
}

async function facts(id) {
  if (!made.has(id)) made.set(id, await get(`/api/pictures/${id}/layout`));
  return made.get(id);
}

async function pick(id) {
  if (comparing && comparing !== id) {
    await compare(comparing, id);
    return;
  }
  comparing = null;
  await show(id);
}

async function compare(first, second) {
  comparing = null;
  for (const [side, id] of [
    ["a", first],
    ["b", second],
  ]) {
    const image = $(`compare-${side}`);
    image.src = `/api/pictures/${id}`;
    image.alt = `Picture of ${when(id)}`;
    image.nextElementSibling.textContent = await facts(id).then(
      (f) => `Seed ${f.seed} · ${f.settings.steps} steps · ${f.layout.prompt}`,
      (error) => error.message,
    );
  }
  $("compare-dialog").showModal();
}

export async function show(id) {
  shown = id;
  for (const button of $("gallery").querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(button.dataset.id === id));
  $("shown").hidden = !id;
  showPicture(id ? `/api/pictures/${id}` : null, true);
  D.refresh();
  if (!id) return;
  $("download").href = `/api/pictures/${id}`;
  $("download").download = `${id}.png`;
  $("shown-text").textContent = "";
  try {
    const f = await facts(id);
    if (shown === id)
      $("shown-text").textContent =
        `Seed ${f.seed} · ${f.settings.steps} steps · ${f.layout.prompt}`;
    $("use-layout").disabled = false;
  } catch (error) {
    $("use-layout").disabled = true;
    $("shown-text").textContent = error.message;
  }
}

export async function takeUp({ layout, settings, seed, model }) {
  D.replaceBy(await D.fromLayout(layout, fetchMask, fetchControl));
  if (settings) setSettings(settings);
  if (seed !== undefined) $("seed").value = seed;
  if (model) takeUpModel(model);
  say("The layout is on the canvas.");
}

// The model that made the picture, where it is still held.
function takeUpModel(model) {
  const select = $("model");
  const wanted = model.version ? String(model.version) : model.sha256 ? "own" : "";
  if (![...select.options].some((each) => each.value === wanted)) {
    problem(new Error(`It was made with release ${wanted}, which is not held any more.`));
    return;
  }
  if (select.value === wanted) return;
  select.value = wanted;
  select.dispatchEvent(new Event("change"));
}

// A picture or a JSON file, dropped or chosen.
export async function openFile(file) {
  try {
    takeUp(await post("/api/open", file));
  } catch (error) {
    problem(new Error(`${file.name}: ${error.message}`));
  }
}
