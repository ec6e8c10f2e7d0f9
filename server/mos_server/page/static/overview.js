// How the centre stands, what it fuses now, what happened of late.
import { element } from "/shared/api.js";
import { badge, moment, percent, renew } from "./parts.js";

const $ = (id) => document.getElementById(id);
const BAD = ["refused", "left-out", "fusion-failed", "not-delivered", "crashed", "failed", "tune-failed", "not-registered", "page-failed"];
const GOOD = ["accepted", "published", "delivered"];

export function show({ status, sites, quarantine, activity }) {
  $("standing").textContent = standing(status);
  renew($("tiles"), [status.concepts, status.release, status.refused, sites, quarantine], () =>
    tiles(status, sites, quarantine),
  );
  renew($("fusion"), [status.fusing, status.failure, status.due, status.release], () =>
    fusion(status),
  );
  renew($("activity"), activity, () =>
    activity.length
      ? activity.map(line)
      : element("li", { class: "quiet" }, "Nothing yet; mos-server serve writes what happens."),
  );
}

function standing(status) {
  if (!status.serving) return "Not serving; mos-server serve does.";
  const state = status.healthy ? "sites can connect" : "starting";
  return `Serving at ${status.address}: ${state}.`;
}

function tiles(status, sites, quarantine) {
  const admitted = sites.filter((site) => !site.revoked);
  const here = admitted.filter((site) => site.connected);
  const release = status.release;
  const facts = [
    [`${here.length} of ${admitted.length}`, "sites here"],
    [String(status.concepts.length), "concepts fused"],
    [release ? String(release.version) : "none", "newest release"],
    [String(status.refused), "bundles refused"],
    [String(quarantine.length), "held", quarantine.length ? "bad" : ""],
  ];
  return facts.map(([figure, words, kind = ""]) =>
    element("li", { class: `tile ${kind}` }, element("b", {}, figure), element("span", {}, words)),
  );
}

function fusion(status) {
  const title = element("h2", {}, "Fusion");
  if (status.fusing != null) {
    const share = Math.round(100 * status.fusing);
    const fill = element("i");
    fill.style.width = `${share}%`;
    return [
      title,
      element(
        "div",
        { class: "progress" },
        element(
          "div",
          {
            class: "bar",
            role: "progressbar",
            "aria-label": "Fusion",
            "aria-valuemin": 0,
            "aria-valuemax": 100,
            "aria-valuenow": share,
          },
          fill,
        ),
        element("span", {}, percent(status.fusing, 0)),
      ),
    ];
  }
  const sentence = status.failure
    ? element("p", { class: "problem" }, `The last fusion failed: ${status.failure}`)
    : element(
        "p",
        {},
        status.due
          ? status.serving
            ? "A new release is due; it is fused as soon as no more bundles come."
            : "A new release is due; mos-server serve makes it."
          : status.release
            ? `Release ${status.release.version} is up to date.`
            : "No bundle yet.",
      );
  return [title, sentence];
}

function line(event) {
  const kind = BAD.includes(event.kind) ? "bad" : GOOD.includes(event.kind) ? "good" : "";
  return element(
    "li",
    {},
    moment(event.time),
    badge(event.kind, kind),
    element("span", {}, event.text),
  );
}
