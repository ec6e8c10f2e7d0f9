// What is held, who signed what, what changed since the release before.
import { element, get, safely } from "/shared/api.js";

const page = document.getElementById("page-releases");
const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

export async function open() {
  const { releases } = await get("/api/releases");
  const checked = new Date().toLocaleTimeString();
  const whole = releases.filter((each) => !each.error);
  const damaged = releases.length - whole.length;
  const verdict = damaged
    ? `${damaged} of ${releases.length} are not as they were signed.`
    : `Every release is as the centre signed it, verified at ${checked}.`;
  page.replaceChildren(
    element(
      "header",
      { class: "headline" },
      element("h1", {}, "Releases"),
      releases.length
        ? element("p", { class: damaged ? "problem" : "quiet", role: "status" }, verdict)
        : null,
      releases.length
        ? element("button", { id: "verify", onclick: safely(open) }, "Verify again")
        : null,
    ),
    ...(releases.length
      ? []
      : [element("p", { class: "card quiet" }, "No release yet; mos-client join receives them.")]),
    ...releases.map((each) => (each.error ? broken(each) : card(each, before(each, whole)))),
  );
}

const before = (release, whole) => whole[whole.indexOf(release) + 1];

function broken(release) {
  return element(
    "article",
    { class: "card" },
    element("h2", {}, `Release ${release.version}`),
    element("p", { class: "problem" }, `Not as it was signed, and not used: ${release.error}`),
  );
}

function changes(release, older) {
  if (!older) return "the oldest held here";
  const old = new Map(older.concepts.map((each) => [each.key, each.bundle_sha256]));
  const now = new Map(release.concepts.map((each) => [each.key, each.bundle_sha256]));
  const lines = [
    ...[...now].filter(([key]) => !old.has(key)).map(([key]) => `new: ${key}`),
    ...[...now]
      .filter(([key, digest]) => old.has(key) && old.get(key) !== digest)
      .map(([key]) => `tuned again: ${key}`),
    ...[...old].filter(([key]) => !now.has(key)).map(([key]) => `gone: ${key}`),
  ];
  return lines.join(", ") || "the same concepts";
}

function card(release, older) {
  const facts = [
    ["Signed", day(release.created)],
    ["Good until", day(release.expires)],
    ["Size", `${release.payload_bytes.toLocaleString("en")} bytes`],
    ["SHA-256", release.payload_sha256],
    ["Base", release.base],
    ["Against the one before", changes(release, older)],
  ];
  return element(
    "article",
    { class: "card" },
    element(
      "h2",
      {},
      `Release ${release.version} `,
      element("span", { class: "ok" }, "✓ verified"),
    ),
    element(
      "dl",
      {},
      ...facts.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, value)]),
    ),
    element(
      "div",
      {
        class: "scroll",
        tabindex: 0,
        role: "region",
        "aria-label": `Concepts of release ${release.version}`,
      },
      table(release.concepts),
    ),
  );
}

function table(concepts) {
  const head = ["Concept", "Class", "Signer's key", "Bundle"];
  return element(
    "table",
    {},
    element(
      "thead",
      {},
      element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text))),
    ),
    element(
      "tbody",
      {},
      ...concepts.map((each) =>
        element(
          "tr",
          {},
          element("td", {}, `<${each.key}>`),
          element("td", {}, each.class_word),
          element("td", { class: "mono", title: each.signer }, each.signer.slice(0, 16)),
          element(
            "td",
            { class: "mono", title: each.bundle_sha256 },
            each.bundle_sha256.slice(0, 16),
          ),
        ),
      ),
    ),
  );
}
