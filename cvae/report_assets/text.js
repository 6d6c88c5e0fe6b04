// Values and names as text.

// Plotly understands a little HTML in its texts: nothing from a run may be taken for it.
export function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

export function cut(text, length) {
  return text.length <= length ? text : text.slice(0, length - 1) + "…";
}

export function show(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(2).replace("e+", "e");
  if (size < 0.1) return String(Number(value.toPrecision(4)));
  return size < 10 ? value.toFixed(4) : String(Number(value.toPrecision(6)));
}

// A tick of an axis: as few digits as it needs.
export function tick(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);
}

// The last part of a dotted key, where there is little room.
export function short(name) {
  return name.slice(name.lastIndexOf(".") + 1);
}
