// Which trials pass, and in which order.
import { columns, count, data, status } from "./data.js";
import { trials, state } from "./state.js";
import { show } from "./text.js";

// Return a test for the text of a filter field, or null where it cannot be understood.
export function compile(text, kind) {
  const range = /^(-?[\d.]+(?:e-?\d+)?)\s*\.\.\s*(-?[\d.]+(?:e-?\d+)?)$/i.exec(text);
  if (kind === "number" && range) {
    const [low, high] = [Number(range[1]), Number(range[2])];
    if (Number.isNaN(low) || Number.isNaN(high)) return null;
    return (value) => value !== null && value >= low && value <= high;
  }
  const [, operator, operand] = /^(>=|<=|!=|>|<|=)?\s*(.*)$/.exec(text);
  if (operator && operator !== "=" && operator !== "!=") {
    const bound = Number(operand);
    if (kind !== "number" || operand === "" || Number.isNaN(bound)) return null;
    const tests = {
      ">": (v) => v > bound, "<": (v) => v < bound,
      ">=": (v) => v >= bound, "<=": (v) => v <= bound,
    };
    return (value) => value !== null && tests[operator](value);
  }
  const wanted = operand.toLowerCase();
  const equal = (value) => {
    if (value === null) return wanted === "" || wanted === "–" || wanted === "-";
    if (kind === "number" && wanted !== "") return value === Number(wanted);
    return String(value).toLowerCase() === wanted;
  };
  if (operator === "=") return equal;
  if (operator === "!=") return (value) => !equal(value);
  return (value) => value !== null && show(value).toLowerCase().includes(wanted);
}

export function applyFilters() {
  const tests = [];
  for (const [name, text] of state.filters) {
    const test = compile(text, columns.get(name).kind);
    if (test) tests.push([columns.get(name).values, test]);
  }
  const wanted = state.search.toLowerCase();
  const searched = data.columns.filter((c) => state.shown.has(c.name) || c.name === "reason");
  trials.filtered = [];
  for (let row = 0; row < count; row += 1) {
    if (!state.statuses.has(status[row])) continue;
    if (!tests.every(([values, test]) => test(values[row]))) continue;
    if (wanted && !data.labels[row].toLowerCase().includes(wanted)
      && !searched.some((c) => show(c.values[row]).toLowerCase().includes(wanted))) continue;
    trials.filtered.push(row);
  }
  const values = state.sort.name === "trial" ? data.labels : columns.get(state.sort.name).values;
  const sign = state.sort.ascending ? 1 : -1;
  const text = new Intl.Collator("en", { numeric: true });
  trials.filtered.sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    // What is missing comes last whichever way the column is sorted.
    if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1;
    const order = typeof x === "number" && typeof y === "number"
      ? x - y : text.compare(String(x), String(y));
    return order ? sign * order : a - b;
  });
  trials.passing = trials.filtered.filter((row) => state.brushes.every((brush) => brush.has(row)));
}
