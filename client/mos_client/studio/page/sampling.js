// Orders: sent, watched, cancelled.
import * as D from "./document.js";
import { onJobs, watch } from "./watch.js";
import { clearProblem, element, post, problem, remove, safely, say } from "/shared/api.js";
import { fit, showPicture } from "./canvas.js";
import * as gallery from "./gallery.js";
import { upload } from "./masks.js";
import { unknownNames } from "./prompt.js";
import { chosenSettings } from "./settings.js";

const $ = (id) => document.getElementById(id);
const own = new Set(),
  ended = new Set();
let running = null,
  lastNews = "",
  seenPreview = "",
  onThumbnail = () => {};

export function start(thumbnails) {
  onThumbnail = thumbnails;
  $("sample").addEventListener("click", order);
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && !$("page-draw").hidden) {
      event.preventDefault();
      order();
    }
  });
  $("cancel").addEventListener(
    "click",
    safely(() => running && remove(`/api/jobs/${running}`)),
  );
  D.onChange(check);
  onJobs(shown);
  watch((text) => {
    $("status").textContent = text;
  });
}

function reason() {
  const { doc } = D,
    shown = doc.regions.filter((each) => !each.hidden);
  const texts = [
    doc.prompt,
    doc.negative,
    ...shown.flatMap((each) => [each.prompt, each.negative]),
  ];
  const wrong = texts.flatMap(unknownNames);
  if (wrong.length) return `No concept is named <${wrong[0].name}>.`;
  const empty = shown.find((each) => !each.prompt.trim());
  if (empty) return `Region ${doc.regions.indexOf(empty) + 1} has no prompt: say what it shows.`;
  if (!doc.prompt.trim() && !shown.length) return "Say what the picture shows.";
  return "";
}
function check() {
  $("check").textContent = "";
}

async function order() {
  const wrong = reason();
  $("check").textContent = wrong;
  if (wrong) return;
  $("sample").disabled = true;
  try {
    const layout = await D.layoutOf(D.doc, upload);
    const wanted = {
      layout,
      model: $("model").value,
      seed: Number($("seed").value),
      images: Number($("images").value),
      settings: chosenSettings(),
    };
    own.add((await post("/api/jobs", wanted)).id);
    clearProblem();
  } catch (error) {
    $("check").textContent = error.message;
  } finally {
    $("sample").disabled = false;
  }
}

async function shown(now) {
  $("status").textContent = {
    loading: "loading the base…",
    ready: "ready",
    failed: "the base cannot be loaded",
  }[now.base];
  if (now.base_error) problem(new Error(now.base_error));
  const job = now.jobs.find((each) => each.state === "running");
  running = job ? job.id : null;
  $("progress").hidden = !job;
  if (job) {
    $("shown").hidden = true;
    const share = job.steps ? job.step / job.steps : 0,
      bar = $("progress").firstElementChild;
    bar.setAttribute("aria-valuenow", Math.round(share * 100));
    bar.firstElementChild.style.width = `${share * 100}%`;
    const left =
      job.seconds_left == null
        ? ""
        : ` · ${job.seconds_left < 1 ? "under a second" : `${Math.ceil(job.seconds_left)} s`} left`;
    $("progress-text").textContent = job.steps
      ? `Step ${job.step} of ${job.steps}${left}`
      : now.base === "loading"
        ? "Waiting for the base"
        : "Preparing";
    const preview = `/api/jobs/${job.id}/preview?step=${job.preview_step}`;
    if (job.preview_step && preview !== seenPreview) {
      seenPreview = preview;
      showPicture(preview, true);
      D.refresh();
    }
    $("status").textContent = "sampling";
  } else if (Object.values(now.tunings).some((each) => each.state === "running")) {
    $("status").textContent = "tuning";
  }
  let news = "";
  for (const each of now.jobs) {
    news += `${each.id} ${each.state} ${each.pictures.length};`;
    if (["done", "failed", "cancelled"].includes(each.state) && !ended.has(each.id)) {
      ended.add(each.id);
      await finished(each);
    }
  }
  showQueue(now.jobs);
  if (news !== lastNews || !job) await gallery.reload();
  lastNews = news;
  if (!job) onThumbnail();
}

async function finished(job) {
  if (!own.has(job.id)) return;
  if (job.state === "failed") {
    $("check").textContent = job.error;
    say(job.error);
    showPicture(null);
    D.refresh();
    return;
  }
  if (job.pictures.length) {
    await gallery.reload();
    await gallery.show(job.pictures[0]);
    say("The picture is finished.");
    if (job.notes.length) $("check").textContent = job.notes.join(" ");
  } else {
    showPicture(null);
    D.refresh();
    say("Cancelled.");
  }
  fit();
}

function showQueue(jobs) {
  const waiting = jobs.filter(
    (each) =>
      ["queued", "interrupted"].includes(each.state) ||
      (each.state === "failed" && own.has(each.id)),
  );
  $("queue").replaceChildren(
    ...waiting.map((job) =>
      element(
        "li",
        {},
        element(
          "span",
          { class: job.state === "failed" ? "failed" : "what" },
          job.state === "failed"
            ? job.error
            : `${job.state}: ${job.prompt || "regions"}${job.images > 1 ? ` ×${job.images}` : ""}`,
        ),
        element(
          "span",
          {},
          job.order
            ? element(
                "button",
                {
                  onclick: safely(async () => {
                    await remove(`/api/jobs/${job.id}`);
                    own.add((await post("/api/jobs", job.order)).id);
                  }),
                },
                "Sample",
              )
            : null,
          element(
            "button",
            {
              "aria-label": "Remove from the queue",
              onclick: safely(() => remove(`/api/jobs/${job.id}`)),
            },
            "×",
          ),
        ),
      ),
    ),
  );
}
