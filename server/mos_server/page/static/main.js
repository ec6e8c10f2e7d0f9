// The page: its tabs, and one question a second and a half to the server, shared by all parts.
import { clearProblem, get, problem } from "/shared/api.js";
import * as bundles from "./bundles.js";
import * as overview from "./overview.js";
import * as releases from "./releases.js";
import * as sites from "./sites.js";

const $ = (id) => document.getElementById(id);
const TABS = ["overview", "sites", "bundles", "releases"];
const EVERY_MILLISECONDS = 1500;
history.replaceState(null, "", `/${location.hash}`);
let seen = "",
  failing = false,
  asking = null,
  again = 0;

async function ask() {
  try {
    const found = await get(`/api/centre?seen=${seen}`);
    if (failing) clearProblem();
    failing = false;
    if (found.seen !== seen) {
      seen = found.seen;
      overview.show(found);
      sites.show(found);
      bundles.show(found);
      await releases.show(found.status);
    }
    $("status").textContent = `seen at ${new Date().toLocaleTimeString("en-GB")}`;
  } catch (error) {
    if (!failing) problem(error);
    failing = true;
    $("status").textContent = "not connected";
  }
}

// One question at a time; `soon` asks at once, as after a deed.
export async function soon() {
  clearTimeout(again);
  await asking;
  asking = ask();
  await asking;
  clearTimeout(again);
  again = setTimeout(soon, EVERY_MILLISECONDS);
}

function showTab(name) {
  for (const tab of TABS) {
    const chosen = tab === name;
    $(`tab-${tab}`).setAttribute("aria-selected", chosen);
    $(`tab-${tab}`).tabIndex = chosen ? 0 : -1;
    $(`page-${tab}`).hidden = !chosen;
  }
  history.replaceState(null, "", `/#${name}`);
  if (name === "releases") releases.draw();
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

async function begin() {
  const about = await get("/api/about");
  $("access").hidden = false;
  $("access").textContent = about.operator ? "operator" : "looking on";
  sites.start(about, soon);
  bundles.start(about, soon);
  releases.start();
  const wanted = location.hash.slice(1);
  if (TABS.includes(wanted)) showTab(wanted);
  await soon();
  document.body.dataset.ready = "yes";
}

begin().catch(problem);
