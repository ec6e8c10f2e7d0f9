// What came of a run: samples next to the pictures they may repeat, and sharing.
import { element, get, post, safely, say } from "/shared/api.js";

let shown = "";

export function showShare(section, root, name, facts, edition) {
  section.hidden = !facts.tuned || !facts.result;
  const key = JSON.stringify([root, facts.result, edition]);
  if (section.hidden || (key === shown && section.childElementCount)) return;
  shown = key;
  const { memorisation: found, sentence, samples } = facts.result;
  const picture = (src, caption) =>
    element(
      "figure",
      {},
      element("img", { src, alt: caption }),
      element("figcaption", { class: "hint" }, caption),
    );
  const place = element("div", { id: "leaving" });
  section.replaceChildren(
    element(
      "div",
      { class: "headline" },
      element("h2", {}, "4  Result and sharing"),
      element(
        "p",
        { class: "quiet" },
        `<${name}> is a ${facts.result.class_word}; use it in Draw under “Own concepts”.`,
      ),
    ),
    element(
      "p",
      { class: found.repeats ? "problem" : "", role: found.repeats ? "alert" : undefined },
      sentence,
    ),
    element(
      "div",
      { class: "nearest" },
      picture(`${root}/samples/${found.sample}?${edition}`, "The sample nearest to a picture"),
      picture(
        `${root}/pictures/${encodeURIComponent(found.picture)}?${edition}`,
        `The picture it is nearest to: ${found.picture}`,
      ),
      ...[...Array(samples).keys()]
        .filter((number) => number !== found.sample)
        .map((number) => picture(`${root}/samples/${number}?${edition}`, `Sample ${number + 1}`)),
    ),
    element(
      "div",
      { class: "actions" },
      element(
        "button",
        { id: "show-leaving", onclick: safely(() => leaving(place, root, name)) },
        "What would leave?",
      ),
    ),
    place,
  );
}

const count = (number) => number.toLocaleString("en");

async function leaving(place, root, name) {
  const told = await get(`${root}/leaving`);
  const rows = [
    ["Concept's file", `${count(told.file_bytes)} bytes, SHA-256 ${told.sha256}`],
    [
      "Signed manifest",
      `${count(told.manifest_bytes)} bytes: site ${told.site}, key ${told.signer.slice(0, 16)}, a number, dates, and each tensor's digest`,
    ],
    ...Object.entries(told.says).map(([key, value]) => [
      key.replace("_", " "),
      String(value) || "none",
    ]),
    ...told.tensors.map((each) => [
      `${each.part}`,
      `${each.count} tensors, ${count(each.bytes)} bytes`,
    ]),
  ];
  const button = element(
    "button",
    {
      class: "primary",
      id: "share",
      onclick: safely(async () => {
        const entry = await post(`${root}/share`);
        say(`<${name}> is signed and waits in the outbox.`);
        await leaving(place, root, name);
        place.append(
          element(
            "p",
            { class: "ok", role: "status" },
            `Signed: ${count(entry.bytes)} bytes wait in the outbox; mos-client join sends them.`,
          ),
        );
      }),
    },
    `Share <${name}>: ${count(told.file_bytes + told.manifest_bytes)} bytes leave`,
  );
  place.replaceChildren(
    element("p", {}, "Exactly this leaves, and no picture, caption or mask:"),
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "What leaves" },
      element(
        "table",
        {},
        element(
          "tbody",
          {},
          ...rows.map(([key, value]) =>
            element(
              "tr",
              {},
              element("th", { scope: "row" }, key),
              element("td", { class: "mono" }, value),
            ),
          ),
        ),
      ),
    ),
    element(
      "div",
      { class: "actions" },
      told.shared
        ? element(
            "p",
            { class: "ok", id: "shared" },
            told.shared === "waiting"
              ? "This file is signed and waits for mos-client join."
              : "The centre has accepted this file.",
          )
        : button,
      element(
        "a",
        { class: "button", href: `${root}/concept`, download: `${name}.safetensors` },
        "Download the concept's file",
      ),
    ),
  );
}
