// What came: held, refused, accepted; and the operator's word on it.
import { element, get, post, safely, say } from "/shared/api.js";
import { badge, confirmed, mono, moment, renew, size, table } from "./parts.js";

const $ = (id) => document.getElementById(id);
const STATES = {
  current: ["fused", "good"],
  quarantined: ["held", "bad"],
  "left-out": ["left out", "bad"],
  superseded: ["replaced", ""],
  withdrawn: ["withdrawn", ""],
  revoked: ["site revoked", ""],
};
let operator = false,
  soon = null;

export function start(about, ask) {
  ({ operator } = about);
  soon = ask;
  $("evidence-close").addEventListener("click", () => $("evidence").close());
}

export function show({ status, bundles, refusals, quarantine, left_out: leftOut }) {
  const more = status.refused > refusals.length ? `, the newest ${refusals.length} shown` : "";
  $("bundles-count").textContent =
    `${quarantine.length} held, ${status.refused} refused${more}`;
  renew($("held"), quarantine, () =>
    quarantine.length
      ? quarantine.map(held)
      : element("p", { class: "quiet" }, "Nothing is held."),
  );
  renew($("refused"), refusals, () => refusedTable(refusals));
  const reasons = new Map(leftOut.map((one) => [one.digest, `${one.reason}: ${one.text}`]));
  renew($("accepted"), [bundles, leftOut], () => acceptedTable(bundles, reasons));
}

const named = (one) => `${one.site}/${one.concept}`;

function act(id, label, one, body, question, done) {
  return element(
    "button",
    {
      id: `${id}-${one.digest}`,
      class: `small${id === "release" ? "" : " danger"}`,
      "aria-label": `${label}: ${named(one)}`,
      onclick: safely(async () => {
        const text = question;
        if ((await confirmed({ title: `${label} ${named(one)}?`, text, yes: label })) === null)
          return;
        await post(`/api/${id}`, body);
        say(`${named(one)} is ${done}.`);
        await soon();
      }),
    },
    label,
  );
}

function picturesButton(one) {
  return element(
    "button",
    {
      id: `pictures-${one.digest}`,
      class: "small",
      "aria-label": `Pictures: ${named(one)}`,
      onclick: safely(() => evidence(one)),
    },
    "Pictures",
  );
}

function held(one) {
  const buttons = [];
  if (one.pictures) buttons.push(picturesButton(one));
  if (operator)
    buttons.push(
      act(
        "release",
        "Release",
        one,
        { digest: one.digest },
        "It is in the next release, and the gate does not hold it again.",
        "released",
      ),
      act(
        "refuse",
        "Refuse",
        one,
        { digest: one.digest },
        "It is left out for good; its site is told so.",
        "refused",
      ),
    );
  return element(
    "article",
    { class: "one-held" },
    element("h3", {}, named(one), " ", element("small", { class: "quiet" }, moment(one.decided))),
    element("p", {}, one.text),
    element("div", { class: "actions" }, ...buttons),
  );
}

function refusedTable(refusals) {
  return table(
    "Refused bundles",
    ["When", "From", "Reason", "In words", "Bundle"],
    refusals.map((one) => [
      moment(one.received),
      one.site || (one.sender ? mono(one.sender) : "unknown"),
      badge(one.reason, "bad"),
      one.text,
      one.digest ? mono(one.digest) : "",
    ]),
    "Nothing was refused.",
  );
}

function acceptedTable(bundles, reasons) {
  const heads = ["When", "Concept", "Class", "Size", "State", ""];
  return table(
    "Accepted bundles",
    heads,
    bundles.map((one) => {
      const [words, kind] = STATES[one.state] ?? [one.state, ""];
      const why = kind === "bad" ? reasons.get(one.digest) : "";
      return [
        moment(one.received),
        [element("b", {}, named(one)), element("br"), mono(one.digest)],
        one.class_word,
        size(one.size),
        [badge(words, kind), why ? element("small", { class: "why" }, why) : ""],
        actions(one),
      ];
    }),
    "Nothing was accepted yet.",
  );
}

function actions(one) {
  const buttons = one.pictures ? [picturesButton(one)] : [];
  const body = { site: one.site, concept: one.concept };
  if (operator && one.state === "current")
    buttons.push(
      act(
        "hold",
        "Hold",
        one,
        body,
        "It is left out of the next release until it is released or refused; its site is told so.",
        "held",
      ),
      act(
        "withdraw",
        "Withdraw",
        one,
        body,
        "It is left out of the next release, and its bundle cannot be sent again. Its site stays admitted.",
        "withdrawn",
      ),
    );
  return buttons.length ? element("div", { class: "actions" }, ...buttons) : "";
}

const SIDES = [
  ["base", "The base alone"],
  ["without", "Release without it"],
  ["with", "Release with it"],
];

// What the gate drew when it held the bundle: before and after.
async function evidence(one) {
  const { beyond, rows } = await get(`/api/evidence/${one.digest}`);
  $("evidence-title").textContent = `${named(one)}: what the gate saw`;
  const figure = (row, side, caption) =>
    element(
      "figure",
      {},
      element("img", {
        src: `/api/evidence/${one.digest}/${row.pictures[side]}`,
        alt: `${caption}: ${row.prompt || "an ordinary prompt"}`,
      }),
      element("figcaption", { class: "hint" }, caption),
    );
  const moved = (row) =>
    row.moved == null
      ? ""
      : ` · moved ${row.moved.toFixed(3)}${row.moved_without == null ? "" : `, without it ${row.moved_without.toFixed(3)}`}`;
  $("evidence-body").replaceChildren(
    element("ul", { class: "notes" }, ...beyond.map((text) => element("li", {}, text))),
    ...rows.map((row) =>
      element(
        "section",
        {},
        element("p", {}, element("b", {}, row.prompt || "An ordinary prompt"), moved(row)),
        element(
          "div",
          { class: "triple" },
          ...SIDES.filter(([side]) => row.pictures[side]).map(([side, caption]) =>
            figure(row, side, caption),
          ),
        ),
      ),
    ),
  );
  $("evidence").showModal();
  $("evidence-close").focus();
}
