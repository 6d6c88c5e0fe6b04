// Numbers of one column: all with the same decimals, so that they can be compared down the page.
import { show } from "./text.js";

const formats = new Map(); // column -> a function from a number to its text

function formatFor(values) {
  const numbers = values.filter((value) => typeof value === "number");
  if (numbers.every(Number.isInteger)) return String;
  const sizes = numbers.map(Math.abs).filter((size) => size > 0);
  const high = sizes.reduce((a, b) => Math.max(a, b), 0);
  const low = sizes.reduce((a, b) => Math.min(a, b), Infinity);
  if (low < 1e-3 || high >= 1e6) {
    return (value) => (value === 0 ? "0" : value.toExponential(2).replace("e+", "e"));
  }
  const most = high < 10 ? 4 : high < 1000 ? 2 : 1;
  const needed = numbers.reduce((a, b) => Math.max(a, digitsOf(b, most)), 1);
  return (value) => value.toFixed(needed);
}

function digitsOf(value, most) {
  for (let digits = 0; digits < most; digits += 1) {
    if (Math.abs(value - Number(value.toFixed(digits))) < 1e-9) return digits;
  }
  return most;
}

export function showIn(column, value) {
  if (typeof value !== "number") return show(value);
  if (!formats.has(column)) formats.set(column, formatFor(column.values));
  return formats.get(column)(value);
}

// A mean has more digits than the values that it is of, where those are whole.
export function showMean(column, value) {
  return typeof value === "number" && !Number.isInteger(value)
    && column.values.every((v) => v === null || Number.isInteger(v))
    ? value.toFixed(1) : showIn(column, value);
}
