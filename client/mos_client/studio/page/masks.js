// Masks: white with alpha in the page, grey PNG on the disk (white is inside).
import { call, Refused } from "/shared/api.js";

export function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

export const loaded = (url) =>
  new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Refused("a picture cannot be read"));
    image.src = url;
  });

const uploaded = new Map();
export async function upload(kind, url, d) {
  const key = `${kind} ${d.width}x${d.height} ${url}`;
  if (!uploaded.has(key)) {
    const canvas = canvasOf(d.width, d.height),
      pen = canvas.getContext("2d");
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, d.width, d.height);
    pen.drawImage(await loaded(url), 0, 0, d.width, d.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    uploaded.set(key, (await call("POST", `/api/uploads?kind=${kind}`, blob)).name);
    if (uploaded.size > 40) uploaded.delete(uploaded.keys().next().value);
  }
  return uploaded.get(key);
}

export async function fetchMask(name) {
  const image = await loaded(`/api/uploads/${name}`);
  return asAlpha(image, image.width, image.height).toDataURL("image/png");
}

// A mask's grey as the alpha of white.
export function asAlpha(image, width, height) {
  const canvas = canvasOf(width, height),
    pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0, width, height);
  const data = pen.getImageData(0, 0, width, height);
  for (let i = 0; i < data.data.length; i += 4) {
    data.data[i + 3] = data.data[i];
    data.data[i] = data.data[i + 1] = data.data[i + 2] = 255;
  }
  pen.putImageData(data, 0, 0);
  return canvas;
}

export async function fetchControl(name) {
  const image = await loaded(`/api/uploads/${name}`);
  const canvas = canvasOf(image.width, image.height);
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/png");
}

// A soft dab; its alpha falls from 1 inside to 0 at the rim.
export function dab(pen, x, y, radius, softness, erase, colour = "255,255,255") {
  pen.globalCompositeOperation = erase ? "destination-out" : "source-over";
  const fill = pen.createRadialGradient(x, y, radius * (1 - softness), x, y, radius);
  fill.addColorStop(0, `rgba(${colour},1)`);
  fill.addColorStop(1, `rgba(${colour},${softness > 0 ? 0 : 1})`);
  pen.fillStyle = fill;
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fill();
}

export function stroke(pen, from, to, radius, softness, erase, colour) {
  const far = Math.hypot(to[0] - from[0], to[1] - from[1]),
    steps = Math.max(1, Math.ceil(far / Math.max(0.5, radius / 4)));
  for (let i = 1; i <= steps; i++)
    dab(
      pen,
      from[0] + ((to[0] - from[0]) * i) / steps,
      from[1] + ((to[1] - from[1]) * i) / steps,
      radius,
      softness,
      erase,
      colour,
    );
}

const tints = new Map();
export function tinted(canvas, colour, key) {
  if (key && tints.has(key + colour)) return tints.get(key + colour);
  const out = canvasOf(canvas.width, canvas.height),
    pen = out.getContext("2d");
  pen.drawImage(canvas, 0, 0);
  pen.globalCompositeOperation = "source-in";
  pen.fillStyle = colour;
  pen.fillRect(0, 0, out.width, out.height);
  const url = out.toDataURL("image/png");
  if (key) {
    tints.set(key + colour, url);
    if (tints.size > 60) tints.delete(tints.keys().next().value);
  }
  return url;
}
// The mask moved by fractions of the picture.
export async function moved(url, dx, dy) {
  const image = await loaded(url),
    canvas = canvasOf(image.width, image.height);
  canvas
    .getContext("2d")
    .drawImage(image, Math.round(dx * image.width), Math.round(dy * image.height));
  return canvas.toDataURL("image/png");
}
