// Where values lie on an axis.
import { columns, count, data, status } from "./data.js";

// The range of a measure over complete trials. A diverged trial's score of zero would else
// squeeze all others into a corner; it is drawn on the lower edge instead.
export function span(name) {
  const { values } = columns.get(name);
  let low = Infinity;
  let high = -Infinity;
  for (const complete of [true, false]) { // without a complete trial, of those there are
    for (let row = 0; row < count; row += 1) {
      if (values[row] === null || (complete && status[row] !== "complete")) continue;
      low = Math.min(low, values[row]);
      high = Math.max(high, values[row]);
    }
    if (low <= high) break;
  }
  if (low > high) [low, high] = [0, 1];
  const size = high - low || Math.abs(high) || 1;
  return { low, high, edge: low - 0.09 * size, top: high + 0.06 * size };
}

export function clamp(value, { edge, top }) {
  return value === null ? edge : Math.min(top, Math.max(edge, value));
}

export function axisRange({ low, high, edge }) {
  const pad = 0.05 * (high - edge);
  return [edge - pad, high + pad];
}

// Where a column's values lie on an axis: a number (or its logarithm), or a category's place.
// A few numbers that a search chose among are categories too, in their order.
export function placing(name) {
  const column = columns.get(name);
  const present = [...new Set(column.values.filter((value) => value !== null))];
  if (column.group !== "parameter" && name !== "seed") {
    const { low, high } = span(name);
    return { log: false, low, high, categories: null, of: (row) => {
      const value = column.values[row];
      return value === null ? null : Math.min(high, Math.max(low, value));
    } };
  }
  if (column.kind === "number" && present.length > 12) {
    const low = present.reduce((a, b) => Math.min(a, b));
    const high = present.reduce((a, b) => Math.max(a, b));
    const log = low > 0 && high / low >= 50;
    return { log, low, high, categories: null, of: (row) => column.values[row] };
  }
  present.sort(column.kind === "number" ? (a, b) => a - b : undefined);
  const index = new Map(present.map((value, i) => [value, i]));
  return { log: false, low: 0, high: Math.max(1, present.length - 1),
    categories: present.map((value) => (typeof value === "number"
      ? String(Number(value.toPrecision(4))) : String(value))),
    of: (row) => (column.values[row] === null ? null : index.get(column.values[row])) };
}

export function byImportance() {
  const ranked = data.importance.map((entry) => entry.parameter);
  return [...ranked, ...data.varied.filter((name) => !ranked.includes(name))];
}
