// Prompts: `<` completes concepts' names, and a name that is none is marked at once.
import { element } from "/shared/api.js";

let cards = [];
const checks = new Set();
let counter = 0;

export function setConcepts(found) {
  cards = found;
  for (const check of checks) check();
}

// The names that prompts may give: the full key always, the short one where it is unique.
function names() {
  const all = new Map(cards.map((card) => [card.key, card]));
  for (const card of cards)
    if (cards.filter((other) => other.name === card.name).length === 1) all.set(card.name, card);
  return all;
}

function distance(a, b) {
  let row = [...Array(b.length + 1).keys()];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length];
}

export function unknownNames(text) {
  const known = names();
  return [...text.matchAll(/(?<!\\)<([^<>\s]*)>/g)]
    .map((match) => match[1])
    .filter((name) => !known.has(name))
    .map((name) => {
      const nearest = [...known.keys()]
        .map((each) => [distance(name, each), each])
        .sort((a, b) => a[0] - b[0])[0];
      return {
        name,
        nearest: nearest && nearest[0] <= Math.max(2, name.length / 2) ? nearest[1] : null,
      };
    });
}

// One suggestion a concept, its short name where that is unique; best matches first.
function suggestions(wanted) {
  const known = names();
  const rank = (card) =>
    [card.name, card.key, card.class_word].findIndex((text) => text.startsWith(wanted));
  return cards
    .filter((card) => card.key.includes(wanted) || card.class_word.includes(wanted))
    .sort((a, b) => ((rank(a) + 4) % 4) - ((rank(b) + 4) % 4))
    .map((card) => [known.get(card.name) === card ? card.name : card.key, card])
    .slice(0, 8);
}

export function promptField(area) {
  const list = element("ul", {
    class: "complete",
    role: "listbox",
    id: `complete-${++counter}`,
    "aria-label": "Concepts",
    hidden: true,
  });
  const marks = element("div", { class: "misspelt", role: "status" });
  area.after(marks, list);
  area.setAttribute("role", "combobox");
  area.setAttribute("aria-autocomplete", "list");
  area.setAttribute("aria-controls", list.id);
  area.setAttribute("aria-expanded", "false");
  let options = [],
    at = 0,
    from = -1;

  function close() {
    list.hidden = true;
    options = [];
    area.setAttribute("aria-expanded", "false");
    area.removeAttribute("aria-activedescendant");
  }
  function insert(name) {
    const before = area.value.slice(0, from),
      after = area.value.slice(area.selectionStart).replace(/^>/, "");
    area.value = `${before}<${name}>${after}`;
    area.setSelectionRange(from + name.length + 2, from + name.length + 2);
    close();
    area.dispatchEvent(new Event("input", { bubbles: true }));
    area.focus();
  }
  function suggest() {
    const open = /(?<!\\)<([^<>\s]*)$/.exec(area.value.slice(0, area.selectionStart));
    if (!open) {
      close();
      return;
    }
    from = open.index;
    const wanted = open[1].toLowerCase();
    options = suggestions(wanted);
    if (!options.length) {
      close();
      return;
    }
    at = 0;
    list.hidden = false;
    area.setAttribute("aria-expanded", "true");
    show();
  }
  function show() {
    list.replaceChildren(
      ...options.map(([name, card], index) => {
        const item = element(
          "li",
          { role: "option", id: `${list.id}-${index}`, "aria-selected": String(index === at) },
          `<${name}>`,
          element("small", {}, card.class_word),
        );
        item.addEventListener("mousedown", (event) => {
          event.preventDefault();
          insert(name);
        });
        return item;
      }),
    );
    area.setAttribute("aria-activedescendant", `${list.id}-${at}`);
  }
  function check() {
    const wrong = unknownNames(area.value);
    area.setAttribute("aria-invalid", String(wrong.length > 0));
    marks.replaceChildren(
      ...wrong.map(({ name, nearest }) => {
        const line = element("div", {}, `No concept is named <${name}>.`);
        if (nearest)
          line.append(
            element(
              "button",
              {
                type: "button",
                onclick: () => {
                  area.value = area.value.replace(`<${name}>`, `<${nearest}>`);
                  area.dispatchEvent(new Event("input", { bubbles: true }));
                },
              },
              `Use <${nearest}>`,
            ),
          );
        return line;
      }),
    );
  }
  area.addEventListener("input", () => {
    suggest();
    check();
  });
  area.addEventListener("blur", close);
  area.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      at = (at + (event.key === "ArrowDown" ? 1 : options.length - 1)) % options.length;
      show();
      event.preventDefault();
    } else if (event.key === "Enter" || event.key === "Tab") {
      if (!event.ctrlKey) {
        insert(options[at][0]);
        event.preventDefault();
        event.stopPropagation();
      }
    } else if (event.key === "Escape") {
      close();
      event.stopPropagation();
    }
  });
  checks.add(check);
  return {
    check,
    set(value) {
      if (area.value !== value) area.value = value;
      check();
    },
  };
}
