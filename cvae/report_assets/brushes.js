// Brushes: the part of a column's values that trials must have, drawn on an axis.
import { columns } from "./data.js";
import { state } from "./state.js";
import { tick } from "./text.js";

export function passesBrushes(row) {
  for (const [name, brush] of state.brushes) {
    const value = columns.get(name).values[row];
    if (value === null) {
      if (!brush.none) return false;
    } else if (brush.among) {
      if (!brush.among.includes(String(value))) return false;
    } else if (!(value >= brush.low && value <= brush.high)) return false;
  }
  return true;
}

function interval({ low, high }) {
  if (low === -Infinity) return high === Infinity ? "any" : `up to ${tick(high)}`;
  return high === Infinity ? `from ${tick(low)}` : `${tick(low)} to ${tick(high)}`;
}

// A brush in words, as the chip at the table says it.
export function nameOf(name, brush) {
  const parts = [];
  if (brush.among && brush.among.length) parts.push(brush.among.join(", "));
  if (!brush.among && brush.low <= brush.high) parts.push(interval(brush));
  if (brush.none) parts.push("none");
  return `${name}: ${parts.join(" or ")}`;
}
