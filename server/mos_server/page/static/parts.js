// What all parts of the page are made of: tables, badges, times, a question before a deed.
import { element } from "/shared/api.js";

const $ = (id) => document.getElementById(id);

// Builds a part anew only where what it shows has changed; the focus stays where it was.
const shown = new WeakMap();
export function renew(container, facts, build) {
  const key = JSON.stringify(facts);
  if (shown.get(container) === key) return;
  shown.set(container, key);
  const active = document.activeElement;
  const id = container.contains(active) ? active.id : "";
  container.replaceChildren(...[build()].flat());
  if (id) $(id)?.focus({ preventScroll: true });
}

// A table that folds into cards where the page is narrow; roles keep it a table there.
export function table(label, heads, rows, empty) {
  if (!rows.length) return element("p", { class: "quiet" }, empty);
  return element(
    "table",
    { class: "folding", role: "table", "aria-label": label },
    element(
      "thead",
      { role: "rowgroup" },
      element(
        "tr",
        { role: "row" },
        ...heads.map((head) => element("th", { role: "columnheader", scope: "col" }, head)),
      ),
    ),
    element(
      "tbody",
      { role: "rowgroup" },
      ...rows.map((cells) =>
        element(
          "tr",
          { role: "row" },
          ...cells.map((cell, index) =>
            element(
              "td",
              { role: "cell", "data-head": heads[index] },
              cell === "" ? null : element("div", {}, ...[cell].flat()),
            ),
          ),
        ),
      ),
    ),
  );
}

export const badge = (text, kind = "") => element("span", { class: `badge ${kind}` }, text);

export const mono = (text, length = 12) =>
  element("span", { class: "mono", title: text }, text.slice(0, length));

const two = (number) => String(number).padStart(2, "0");
export function moment(seconds) {
  if (!seconds) return "";
  const at = new Date(seconds * 1000);
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return element(
    "time",
    { datetime: at.toISOString() },
    at.toDateString() === new Date().toDateString() ? clock : `${day} ${clock.slice(0, 5)}`,
  );
}

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
export const count = (number) => number.toLocaleString("en");
export const size = (bytes) =>
  bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

// Asks before a deed that cannot be undone; null where it was not confirmed, else whether
// the option was chosen.
export function confirmed({ title, text, yes, option = "" }) {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  $("ask-option").hidden = !option;
  $("ask-check-text").textContent = option;
  $("ask-check").checked = false;
  dialog.returnValue = "no";
  dialog.showModal();
  $("ask-no").focus();
  return new Promise((resolve) =>
    dialog.addEventListener(
      "close",
      () => resolve(dialog.returnValue === "yes" ? $("ask-check").checked : null),
      { once: true },
    ),
  );
}
