// A tuning run: its buttons, progress, loss curve and grids.
import { element, post, safely } from "/shared/api.js";

const SVG = "http://www.w3.org/2000/svg";
const WORKING = ["queued", "running", "stopping"];

export function showRun(section, root, name, facts, run) {
  const focused = document.activeElement?.id;
  const working = WORKING.includes(run?.state);
  const act = (id, label, path, primary) =>
    element(
      "button",
      {
        id,
        class: primary ? "primary" : "",
        disabled: run?.state === "stopping",
        onclick: safely(() => post(`${root}/${path}`)),
      },
      label,
    );
  const buttons = working
    ? [act("tune-stop", "Stop", "stop", false)]
    : facts.stopped
      ? [
          act("tune-resume", "Resume", "start?resume=true", true),
          act("tune-start", "Start anew", "start", false),
        ]
      : facts.check.ready
        ? [act("tune-start", facts.tuned ? "Tune again" : "Start tuning", "start", true)]
        : [];
  const steps = run?.previews.length ? run.previews : facts.previews;
  section.replaceChildren(
    element(
      "div",
      { class: "headline" },
      element("h2", {}, "3  Run"),
      element("p", { class: "quiet", id: "tune-state", role: "status" }, sentence(run, facts)),
      element("div", { class: "actions" }, ...buttons),
    ),
    ...(run?.error ? [element("p", { class: "problem", role: "alert" }, run.error)] : []),
    ...(working && run.steps ? [bar(run)] : []),
    ...(run?.losses.length > 1 ? [chart(run)] : []),
    ...(steps.length ? [grids(root, name, steps)] : []),
  );
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function sentence(run, facts) {
  if (!run) {
    if (facts.stopped) return "Stopped; a checkpoint is kept.";
    if (facts.tuned) return "Tuned.";
    return facts.check.ready ? "Ready." : "Waits for pictures that can be used.";
  }
  const left = run.seconds_left == null ? "" : ` · about ${time(run.seconds_left)} left`;
  const at = `Step ${run.step} of ${run.steps}`;
  return {
    queued: "Queued: it starts when the pictures before it are done.",
    running: run.phase ? `${run.phase[0].toUpperCase()}${run.phase.slice(1)}…` : `${at}${left}`,
    stopping: "Stopping after this step…",
    stopped: `Stopped at step ${run.step}; a checkpoint is kept.`,
    done: `Tuned in ${run.steps} steps.`,
    failed: "It ended early.",
  }[run.state];
}

const time = (seconds) =>
  seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;

function bar(run) {
  const fill = element("i");
  fill.style.width = `${(100 * run.step) / run.steps}%`;
  return element(
    "div",
    {
      class: "bar",
      role: "progressbar",
      "aria-label": "Tuning",
      "aria-valuemin": 0,
      "aria-valuemax": run.steps,
      "aria-valuenow": run.step,
    },
    fill,
  );
}

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The smoothed loss over the steps; the axis begins at 0.
function chart(run) {
  const [width, height] = [600, 130];
  const last = run.losses.at(-1);
  const top = Math.max(...run.losses.map(([, loss]) => loss)) * 1.05;
  const points = run.losses.map(
    ([step, loss]) =>
      `${((step / run.steps) * width).toFixed(1)},${(height - (loss / top) * height).toFixed(1)}`,
  );
  const curve = svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      class: "chart",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `Loss, ${run.losses[0][1].toFixed(3)} at first and ${last[1].toFixed(3)} at step ${last[0]}`,
    },
    ...[0.25, 0.5, 0.75].map((share) =>
      svg("line", { x1: 0, x2: width, y1: height * share, y2: height * share }),
    ),
    svg("polyline", { points: points.join(" ") }),
  );
  return element(
    "figure",
    { class: "loss" },
    element("figcaption", { class: "hint" }, `Loss, smoothed: ${last[1].toFixed(4)}`),
    curve,
  );
}

function grids(root, name, steps) {
  return element(
    "div",
    { class: "grids" },
    element(
      "p",
      { class: "hint" },
      "Grids of the run: the words alone in the first row, with the LoRA below.",
    ),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Grids of the run" },
      ...[...steps].reverse().map((step) =>
        element(
          "figure",
          {},
          element("img", {
            class: "preview-grid",
            src: `${root}/previews/${step}`,
            alt: `<${name}> after ${step} steps`,
          }),
          element("figcaption", { class: "hint" }, `Step ${step}`),
        ),
      ),
    ),
  );
}
