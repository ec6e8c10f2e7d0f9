// A dialog to draw the mask of a picture: white is the subject, the rest is tinted.
import { element } from "/shared/api.js";
import { asAlpha, canvasOf, loaded, stroke } from "./masks.js";

const COVER = "rgba(230, 0, 90, 0.5)";

// Resolves to a PNG's blob, an empty one for no mask, or null where nothing changed.
export async function editMask(picture, mask, name) {
  const image = await loaded(picture);
  const ink = canvasOf(image.naturalWidth, image.naturalHeight);
  const pen = ink.getContext("2d");
  if (mask)
    pen.drawImage(asAlpha(await loaded(`${mask}?${Date.now()}`), ink.width, ink.height), 0, 0);
  const shown = canvasOf(ink.width, ink.height);
  shown.className = "mask-canvas";
  shown.tabIndex = 0;
  shown.setAttribute("role", "img");
  shown.setAttribute("aria-label", `${name}; paint what is the subject`);
  const size = range("Size", 1, 100, 30);
  const soft = range("Softness", 0, 100, 30);
  const erase = element("input", { type: "checkbox" });

  function redraw() {
    const view = shown.getContext("2d");
    view.globalCompositeOperation = "source-over";
    view.clearRect(0, 0, shown.width, shown.height);
    view.fillStyle = COVER;
    view.fillRect(0, 0, shown.width, shown.height);
    view.globalCompositeOperation = "destination-out";
    view.drawImage(ink, 0, 0);
    view.globalCompositeOperation = "destination-over";
    view.drawImage(image, 0, 0, shown.width, shown.height);
  }
  let last = null;
  const at = (event) => {
    const box = shown.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * ink.width,
      ((event.clientY - box.top) / box.height) * ink.height,
    ];
  };
  const paint = (event) => {
    const to = at(event);
    const radius = (Number(size.input.value) / 200) * Math.min(ink.width, ink.height);
    stroke(pen, last ?? to, to, Math.max(1, radius), Number(soft.input.value) / 100, erase.checked);
    last = to;
    redraw();
  };
  shown.addEventListener("pointerdown", (event) => {
    shown.setPointerCapture(event.pointerId);
    last = null;
    paint(event);
  });
  shown.addEventListener("pointermove", (event) => {
    if (event.buttons && last) paint(event);
  });
  shown.addEventListener("pointerup", () => (last = null));
  redraw();

  return new Promise((resolve) => {
    const dialog = element("dialog", { class: "mask-editor", "aria-label": `Mask of ${name}` });
    const end = (value) => {
      dialog.close();
      dialog.remove();
      resolve(value);
    };
    const button = (label, onclick, primary) =>
      element("button", { class: primary ? "primary" : "", onclick }, label);
    dialog.append(
      element(
        "p",
        { class: "hint" },
        "Paint over the subject. The tinted part is hidden from tuning.",
      ),
      shown,
      element(
        "div",
        { class: "row" },
        size.label,
        soft.label,
        element("label", { class: "check" }, erase, "Erase"),
      ),
      element(
        "div",
        { class: "actions" },
        button("Save mask", async () => end(await pngOf(ink)), true),
        button("Whole picture", () => {
          pen.globalCompositeOperation = "source-over";
          pen.fillStyle = "#fff";
          pen.fillRect(0, 0, ink.width, ink.height);
          redraw();
        }),
        button("No mask", () => end(new Blob([]))),
        button("Cancel", () => end(null)),
      ),
    );
    dialog.addEventListener("cancel", () => end(null));
    document.body.append(dialog);
    dialog.showModal();
  });
}

function range(name, min, max, value) {
  const input = element("input", { type: "range", min, max, value });
  return { input, label: element("label", { class: "field" }, name, " ", input) };
}

function pngOf(ink) {
  const flat = canvasOf(ink.width, ink.height);
  const pen = flat.getContext("2d");
  pen.fillRect(0, 0, flat.width, flat.height);
  pen.drawImage(ink, 0, 0);
  return new Promise((resolve) => flat.toBlob(resolve, "image/png"));
}
