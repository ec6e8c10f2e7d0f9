import { element } from "/shared/api.js";
export async function open(page) {
  page.replaceChildren(
    element("h1", {}, "Tune"),
    element(
      "p",
      {},
      "`mos-client tune` tunes a concept on your pictures; it then appears among your own concepts in Draw.",
    ),
  );
}
