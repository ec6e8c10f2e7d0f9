// Calls to the page's own server; every error is one line to show.
const token = document.querySelector("meta[name=page-token]").content;

export class Refused extends Error {}

export async function call(method, path, body, kind) {
  const headers = { "X-Page-Token": token };
  let content = body;
  if (body !== undefined && !(body instanceof Blob)) {
    headers["Content-Type"] = "application/json";
    content = JSON.stringify(body);
  } else if (kind) headers["Content-Type"] = kind;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: content });
  } catch {
    throw new Refused("The server does not answer. Start it again; nothing in this page is lost.");
  }
  let result = {};
  try {
    result = await answer.json();
  } catch {
    /* an empty answer */
  }
  if (!answer.ok) throw new Refused(result.error || `the server answered ${answer.status}`);
  return result;
}

export const get = (path) => call("GET", path);
export const post = (path, body) => call("POST", path, body);
export const put = (path, body) => call("PUT", path, body);
export const remove = (path) => call("DELETE", path);

const banner = document.getElementById("banner");
export function problem(error) {
  banner.firstElementChild.textContent = error.message || String(error);
  banner.hidden = false;
  if (!(error instanceof Refused)) console.error(error);
}
export function clearProblem() {
  banner.hidden = true;
}
banner.querySelector("button").addEventListener("click", clearProblem);

// Runs what a click started; whatever fails is shown.
export const safely =
  (work) =>
  async (...args) => {
    try {
      return await work(...args);
    } catch (error) {
      problem(error);
    }
  };

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export function say(text) {
  document.getElementById("live").textContent = text;
}

// The file chosen, or the files where several may be; a dialog that is left resolves never.
export function chooseFile(accept, multiple = false) {
  return new Promise((resolve) => {
    const input = element("input", { type: "file", accept, multiple });
    input.addEventListener("change", () => resolve(multiple ? [...input.files] : input.files[0]));
    input.click();
  });
}

export const asUrl = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Refused("the file cannot be read"));
    reader.readAsDataURL(blob);
  });
