// What is held, who signed what, what changed since the release before.
import { element, get } from "/shared/api.js";

const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

export async function open(page) {
  const { releases } = await get("/api/releases");
  page.replaceChildren(
    element("h1", {}, "Releases"),
    element(
      "p",
      { class: "quiet" },
      releases.length
        ? "Each was verified by the centre's key just now."
        : "No release yet; `mos-client join` receives them.",
    ),
    ...releases.map((release, index) => card(release, releases[index + 1])),
  );
}

function changes(release, before) {
  if (!before) return "the oldest held here";
  const old = new Map(before.concepts.map((each) => [each.key, each.bundle_sha256])),
    now = new Map(release.concepts.map((each) => [each.key, each.bundle_sha256]));
  const told = [
    ...[...now].filter(([key]) => !old.has(key)).map(([key]) => `new: ${key}`),
    ...[...now]
      .filter(([key, digest]) => old.has(key) && old.get(key) !== digest)
      .map(([key]) => `tuned again: ${key}`),
    ...[...old].filter(([key]) => !now.has(key)).map(([key]) => `gone: ${key}`),
  ];
  return told.join(", ") || "the same concepts";
}

function card(release, before) {
  const rows = release.concepts.map((each) =>
    element(
      "tr",
      {},
      ...[`<${each.key}>`, each.class_word].map((text) => element("td", {}, text)),
      element("td", { class: "mono", title: each.signer }, each.signer.slice(0, 16)),
      element("td", { class: "mono", title: each.bundle_sha256 }, each.bundle_sha256.slice(0, 16)),
    ),
  );
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
      ...[
        ["Signed", day(release.created)],
        ["Good until", day(release.expires)],
        ["Size", `${release.payload_bytes.toLocaleString("en")} bytes`],
        ["Base", release.base.slice(0, 16)],
        ["Against the one before", changes(release, before)],
      ].flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, value)]),
    ),
    element(
      "div",
      {
        class: "scroll",
        tabindex: 0,
        role: "region",
        "aria-label": `Concepts of release ${release.version}`,
      },
      element(
        "table",
        {},
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            ...["Concept", "Class", "Signer's key", "Bundle"].map((text) =>
              element("th", { scope: "col" }, text),
            ),
          ),
        ),
        element("tbody", {}, ...rows),
      ),
    ),
  );
}
