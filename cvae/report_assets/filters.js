// Which trials pass, and in which order.
import { passesBrushes } from "./brushes.js";
import { columns, data, status } from "./data.js";
import { allEntries, textOf, valueOf } from "./entries.js";
import { state, trials } from "./state.js";
import { show } from "./text.js";

// Return { test } for the text of a filter field, or { error } with the reason.
export function compile(text, kind) {
  const range = /^(\S+?)\s*\.\.\s*(\S+)$/.exec(text);
  if (kind === "number" && range) {
    const [low, high] = [Number(range[1]), Number(range[2])];
    if (Number.isNaN(low) || Number.isNaN(high)) {
      return { error: "a range has a number on both sides, as 0.1..0.5" };
    }
    if (low > high) return { error: `no number is from ${range[1]} to ${range[2]}: the first is larger` };
    return { test: (value) => value !== null && value >= low && value <= high };
  }
  const [, operator, operand] = /^(>=|<=|!=|>|<|=)?\s*(.*)$/.exec(text);
  if (operator && operator !== "=" && operator !== "!=") {
    if (kind !== "number") {
      return { error: `${operator} compares numbers, and this column has texts: write =, != or a part` };
    }
    const bound = Number(operand);
    if (operand === "" || Number.isNaN(bound)) {
      return { error: operand === "" ? `${operator} needs a number after it`
        : `${operator} needs a number after it, and ${operand} is none` };
    }
    const tests = {
      ">": (v) => v > bound, "<": (v) => v < bound,
      ">=": (v) => v >= bound, "<=": (v) => v <= bound,
    };
    return { test: (value) => value !== null && tests[operator](value) };
  }
  const wanted = operand.toLowerCase();
  const isNone = wanted === "" || wanted === "–" || wanted === "-";
  if (operator && kind === "number" && !isNone && Number.isNaN(Number(wanted))) {
    return { error: `this column has numbers, and ${operand} is none` };
  }
  const equal = (value) => {
    if (value === null) return isNone;
    if (kind === "number" && wanted !== "") return value === Number(wanted);
    return String(value).toLowerCase() === wanted;
  };
  if (operator === "=") return { test: equal };
  if (operator === "!=") return { test: (value) => !equal(value) };
  return { test: (value) => value !== null && show(value).toLowerCase().includes(wanted) };
}

// The filters that cannot be understood, by column: they hide nothing.
export function rejected() {
  const reasons = new Map();
  for (const [name, text] of state.filters) {
    const { error } = compile(text, columns.get(name).kind);
    if (error) reasons.set(name, error);
  }
  return reasons;
}

function compare(text, ascending) {
  const sign = ascending ? 1 : -1;
  return ([x, a], [y, b]) => {
    // What is missing comes last whichever way the column is sorted.
    if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1;
    const order = typeof x === "number" && typeof y === "number"
      ? x - y : text.compare(String(x), String(y));
    return order ? sign * order : a - b;
  };
}

export function applyFilters() {
  const tests = [];
  for (const [name, text] of state.filters) {
    const { test } = compile(text, columns.get(name).kind);
    if (test) tests.push([columns.get(name), test]);
  }
  const wanted = state.search.toLowerCase();
  const searched = data.columns.filter((c) => state.shown.has(c.name) || c.name === "reason");
  const kept = allEntries().filter((entry) => entry.rows.some((row) => state.statuses.has(status[row]))
    && tests.every(([column, test]) => test(valueOf(entry, column)))
    && (!wanted || entry.label.toLowerCase().includes(wanted)
      || searched.some((c) => textOf(entry, c).toLowerCase().includes(wanted))));
  const by = state.sort.name === "trial" ? (entry) => data.labels[entry.rows[0]]
    : (entry) => valueOf(entry, columns.get(state.sort.name));
  const order = compare(new Intl.Collator("en", { numeric: true }), state.sort.ascending);
  const sorted = kept.map((entry, i) => [by(entry), i, entry]).sort(order).map(([, , entry]) => entry);
  const shownRows = (entry) => entry.rows.filter((row) => state.statuses.has(status[row]));
  trials.filtered = sorted.flatMap(shownRows);
  trials.entries = sorted.filter((entry) => shownRows(entry).some(passesBrushes));
  trials.passing = trials.entries.flatMap(shownRows).filter(passesBrushes);
}
