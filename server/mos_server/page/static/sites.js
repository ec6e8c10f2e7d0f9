// Who may send: the sites, a request to be admitted, orders to tune.
import { chooseFile, element, post, safely, say } from "/shared/api.js";
import { badge, confirmed, count, mono, moment, renew, table } from "./parts.js";

const $ = (id) => document.getElementById(id);
let operator = false,
  soon = null,
  request = "",
  proposed = "";

export function start(about, ask) {
  ({ operator } = about);
  soon = ask;
  proposed = about.address;
  if (!operator) return;
  $("admit-card").hidden = $("tune-form").hidden = false;
  const drop = $("admit-drop");
  drop.addEventListener(
    "click",
    safely(async () => read(await chooseFile(".request,.txt,text/plain"))),
  );
  for (const kind of ["dragover", "dragleave", "drop"])
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
    });
  drop.addEventListener(
    "drop",
    safely((event) => read(event.dataTransfer.files[0])),
  );
  $("admit-form").addEventListener(
    "submit",
    safely(async (event) => {
      event.preventDefault();
      await admit();
    }),
  );
  $("admit-cancel").addEventListener("click", () => close());
  $("tune-form").addEventListener(
    "submit",
    safely(async (event) => {
      event.preventDefault();
      await order();
    }),
  );
}

export function show({ status, sites, orders }) {
  if (!proposed && status.address && !/^(0\.0\.0\.0|\[?::\]?):/.test(status.address))
    proposed = status.address;
  const admitted = sites.filter((site) => !site.revoked);
  $("sites-count").textContent = `${admitted.length} admitted, ${sites.length - admitted.length} revoked`;
  renew($("sites"), sites, () => siteTable(sites));
  renew($("orders"), orders, () => orderTable(orders));
  renew($("tune-site"), admitted.map((site) => site.site), () => [
    element("option", { value: "" }, "All admitted sites"),
    ...admitted.map((site) => element("option", { value: site.site }, site.site)),
  ]);
}

function siteTable(sites) {
  const heads = ["Site", "State", "Concepts", "Quota used", "Refused", "Admitted"];
  if (operator) heads.push("");
  return table(
    "Sites",
    heads,
    sites.map((site) => {
      const cells = [
        [element("b", {}, site.site), element("br"), mono(site.key)],
        state(site),
        site.concepts.map((name) => `<${name}>`).join(" ") || element("span", { class: "quiet" }, "none"),
        used(site),
        String(site.refused),
        moment(site.admitted),
      ];
      if (operator) cells.push(revokeButton(site));
      return cells;
    }),
    "No site yet; the first one is admitted by its enrolment request.",
  );
}

function state(site) {
  if (site.revoked) return badge(site.kept ? "revoked, concepts kept" : "revoked", "bad");
  return site.connected ? badge("here", "good") : badge("away");
}

const used = ({ used: now, quota }) =>
  element(
    "small",
    {},
    `${now.concepts}/${quota.concepts} concepts, ${(now.bytes / 1e6).toFixed(1)}/${count(quota.megabytes)} MB, ${now.last_hour}/${quota.per_hour} an hour`,
  );

function revokeButton(site) {
  if (site.revoked && !site.kept) return "";
  const label = site.revoked ? "Withdraw its concepts" : "Revoke";
  return element(
    "button",
    {
      id: `revoke-${site.key}`,
      class: "small danger",
      "aria-label": `${label}: ${site.site}`,
      onclick: safely(async () => {
        const keep = await confirmed({
          title: `${label}: ${site.site}?`,
          text: site.revoked
            ? "Its concepts leave the next release. Copies that other sites hold stay there."
            : "Whatever it sends from now on is refused; its key never counts again. Its concepts leave the next release; copies that other sites hold stay there.",
          yes: label,
          option: site.revoked ? "" : "Keep its concepts in the releases",
        });
        if (keep === null) return;
        await post("/api/revoke", { site: site.site, keep_concepts: keep });
        say(`Site ${site.site} is revoked.`);
        await soon();
      }),
    },
    label,
  );
}

async function read(file) {
  if (!file) return;
  $("admitted").replaceChildren();
  request = await file.text();
  const asked = await post("/api/request", { request });
  $("admit-who").replaceChildren(
    element("b", {}, asked.site),
    " asks to be admitted. Fingerprint of its request, to compare with the site's people by telephone: ",
    element("span", { class: "mono", id: "fingerprint" }, asked.fingerprint),
  );
  if (!$("admit-address").value) $("admit-address").value = proposed || "127.0.0.1:9092";
  $("admit-form").hidden = false;
  $("admit-drop").hidden = true;
  $("admit").focus();
  say(`Site ${asked.site} asks to be admitted.`);
}

async function admit() {
  const told = await post("/api/admit", {
    request,
    address: $("admit-address").value.trim(),
    quota: $("admit-quota").value.trim(),
  });
  close();
  const url = URL.createObjectURL(new Blob([told.welcome], { type: "text/plain" }));
  $("admitted").replaceChildren(
    element("p", { class: "ok" }, `Site ${told.site} is admitted.`),
    element("p", {}, "Send its welcome back to the site, which joins with it:"),
    element(
      "a",
      { class: "button", id: "welcome", href: url, download: `${told.site}.welcome` },
      `Save ${told.site}.welcome`,
    ),
    ...(told.renewed
      ? [
          element(
            "p",
            {},
            "The server's certificate was made anew, to name this address; mos-server serve takes it up by itself.",
          ),
        ]
      : []),
  );
  $("welcome").focus();
  await soon();
}

function close() {
  $("admit-form").hidden = true;
  $("admit-drop").hidden = false;
  $("admit-drop").focus();
  $("admit-quota").value = request = "";
}

function orderTable(orders) {
  return table(
    "Orders to tune",
    ["Site", "Concept", "Ordered", "State"],
    orders.map((order) => [order.site, `<${order.concept}>`, moment(order.ordered), order.state]),
    "Nothing is ordered. A site tunes only what its own policy allows.",
  );
}

async function order() {
  const whole = (id) => Number($(id).value);
  const { sites } = await post("/api/tune", {
    concept: $("tune-concept").value.trim(),
    site: $("tune-site").value,
    steps: whole("tune-steps"),
    rank: whole("tune-rank"),
    seed: whole("tune-seed"),
  });
  say(`Ordered from ${sites.join(", ") || "nobody: no site is admitted"}.`);
  await soon();
}
