// Every release with what its fusion kept of each concept; kept and drift over releases.
import { element, get } from "/shared/api.js";
import { lineChart } from "./chart.js";
import { badge, count, mono, moment, percent, renew, table } from "./parts.js";

const $ = (id) => document.getElementById(id);
let known = [],
  version = -1;

export function start() {
  new ResizeObserver(() => draw()).observe($("releases"));
}

export async function show(status) {
  const newest = status.release?.version ?? 0;
  if (newest === version) return;
  known = (await get("/api/releases")).releases;
  version = newest;
  const whole = known.filter((one) => one.whole).length;
  $("releases-count").textContent = known.length
    ? `${known.length} published, ${whole} kept whole`
    : "None yet; the first accepted concept makes one.";
  renew($("releases"), known, () => known.map(card));
  draw();
}

// The charts, as wide as there is room.
export function draw() {
  const fused = known.filter((one) => one.report).reverse();
  const room = $("releases").clientWidth;
  if (!room) return;
  const wide = room > 760 ? (room - 20) / 2 : room;
  renew($("charts"), [fused.map((one) => one.version), wide], () =>
    fused.length ? [kept(fused, wide - 42), drift(fused, wide - 42), figures(fused)] : [],
  );
}

function spread(release) {
  const shares = Object.entries(release.report.concepts).map(([name, one]) => [one.kept, name]);
  shares.sort((one, other) => one[0] - other[0]);
  const mean = shares.reduce((sum, [share]) => sum + share, 0) / (shares.length || 1);
  return { mean, lowest: shares[0]?.[0] ?? 1, name: shares[0]?.[1] ?? "" };
}

// Drift may be a thousandth of a percent.
const small = (share) => `${Number((100 * share).toPrecision(3))}%`;
const labels = (fused) => fused.map((one) => String(one.version));

function figure(title, legend, chart) {
  return element(
    "figure",
    { class: "card chart-card" },
    element("figcaption", {}, element("h2", {}, title), ...legend),
    chart,
  );
}

const key = (kind, text) =>
  element("span", { class: "key" }, element("i", { class: kind }), text);

function kept(fused, width) {
  const all = fused.map(spread);
  const chart = lineChart({
    label: `Kept of the concepts over releases; mean in the newest ${percent(all.at(-1).mean)}`,
    labels: labels(fused),
    series: [
      { name: "lowest concept", kind: "second", values: all.map((one) => one.lowest) },
      { name: "mean", kind: "first", values: all.map((one) => one.mean) },
    ],
    width,
  });
  return figure("Kept", [key("first", "mean"), key("second", "lowest concept")], chart);
}

function drift(fused, width) {
  const chart = lineChart({
    label: `Drift of the base over releases; ${small(fused.at(-1).report.drift)} in the newest`,
    labels: labels(fused),
    series: [{ name: "drift", kind: "first", values: fused.map((one) => one.report.drift) }],
    width,
    floor: 0,
  });
  return figure("Drift", [key("first", "of the base on generic inputs")], chart);
}

function figures(fused) {
  const rows = [...fused].reverse().map((one) => {
    const { mean, lowest, name } = spread(one);
    return [
      String(one.version),
      percent(mean),
      name ? `${percent(lowest)} (${name})` : "",
      small(one.report.drift),
    ];
  });
  return element(
    "details",
    { class: "card wide" },
    element("summary", {}, "The same in figures"),
    table("Kept and drift by release", ["Release", "Kept, mean", "Lowest", "Drift"], rows, ""),
  );
}

function card(release) {
  const facts = [
    ["Published", moment(release.created)],
    ["Good until", moment(release.expires)],
    ["Size", release.whole ? `${count(release.bytes)} bytes` : "envelope alone is kept"],
    ["Signed by", mono(release.signer || "not noted", 16)],
    ["Digest", mono(release.digest, 16)],
  ];
  const { report } = release;
  return element(
    "article",
    { class: "card" },
    element(
      "div",
      { class: "headline" },
      element("h2", {}, `Release ${release.version}`),
      ...gate(report),
      element("p", {}),
      report
        ? element(
            "a",
            {
              class: "button",
              href: `/api/releases/${release.version}/report`,
              download: `release-${release.version}-report.html`,
            },
            "Save the fusion report",
            element("span", { class: "sr" }, ` of release ${release.version}`),
          )
        : null,
    ),
    element(
      "dl",
      {},
      ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
    ),
    report ? concepts(release) : plain(release),
  );
}

function gate(report) {
  if (!report?.gate) return [];
  const { exceeded, released_by_operator: passed } = report.gate;
  return [
    exceeded.length ? badge("beyond the gate's limits", "bad") : badge("within the gate's limits", "good"),
    ...(passed.length ? [badge(`released by the operator: ${passed.join(", ")}`)] : []),
  ];
}

const plain = (release) =>
  element(
    "p",
    { class: "quiet" },
    `${release.concepts.join(", ") || "No concept"}. `,
    release.whole
      ? "Not fused anew, so there is no report of its own."
      : "Its report is not kept any more.",
  );

// What each concept was by itself, and what the fused model keeps of it.
function concepts(release) {
  const rows = Object.entries(release.report.concepts).map(([name, one]) => [
    element("b", {}, name),
    share(one.kept_alone),
    share(one.kept),
    percent(one.conflict),
  ]);
  return table(
    `Concepts of release ${release.version}`,
    ["Concept", "Kept, fused alone", "Kept, fused with the others", "Cost of the others"],
    rows,
    "No concept.",
  );
}

function share(value) {
  const fill = element("i");
  fill.style.width = `${100 * Math.min(1, Math.max(0, value))}%`;
  return element(
    "span",
    { class: "share" },
    element("span", { class: "bar", "aria-hidden": "true" }, fill),
    percent(value),
  );
}
