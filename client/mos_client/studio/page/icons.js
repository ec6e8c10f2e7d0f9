// Icons as strokes on 16x16, so that no font decides what they look like.
const PATHS = {
  eye: "M1.5 8s2.4-4.5 6.5-4.5S14.5 8 14.5 8 12.1 12.5 8 12.5 1.5 8 1.5 8Zm6.5 2a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  hidden:
    "M2.5 6.5c1 1.6 2.9 3 5.5 3s4.500-1.400 5.500-3M3.500 11.500l1.200-2M8 12.500V10M12.500 11.500l-1.200-2",
  locked: "M4 7.500h8v6H4zM5.500 7.500V5a2.500 2.500 0 0 1 5 0v2.500",
  open: "M4 7.500h8v6H4zM5.500 7.500V5a2.500 2.500 0 0 1 4.800-1",
  up: "M8 13V3.500M4 7.500 8 3.500l4 4",
  down: "M8 3v9.500M4 8.500l4 4 4-4",
  copy: "M5.500 5.500h8v8h-8zM10.500 5.500v-3h-8v8h3",
  bin: "M3 4.500h10M6.500 4.500v-2h3v2M4.500 4.500l.7 9h5.600l.7-9M6.700 7v4M9.300 7v4",
  undo: "M3 6.500h6.500a3.500 3.500 0 0 1 0 7H6M6 3.500l-3 3 3 3",
  redo: "M13 6.500H6.500a3.500 3.500 0 0 0 0 7H10M10 3.500l3 3-3 3",
};

export function icon(name) {
  const SVG = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
