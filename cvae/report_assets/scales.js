// Where values lie on an axis.
import { columns, count, data, status } from "./data.js";
import { cut, plain, tick } from "./text.js";

const FEW = 12; // distinct numbers that get a tick each, and points that do not hide each other

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

// Golden-ratio steps: the same every time, and even for any number of points.
function jitter(row, turn = 0) {
  return ((row * (turn ? 0.7548776662 : 0.6180339887)) % 1) - 0.5;
}

// Where a column's values lie on an axis. A parameter that the study drew from an interval has that
// interval, on its scale; one that it chose among values has these as categories, in their order.
// Without a study numbers are numbers, logarithmic where they span decades or multiply each step.
//
// `of` gives a row's value (of a category, its place), `at` the same where points do not hide each
// other, `share` the place of a value between 0 and 1.
export function placing(name) {
  const column = columns.get(name);
  const isParameter = column.group === "parameter" || name === "seed";
  const present = [...new Set(column.values.filter((value) => value !== null))];
  const space = data.spaces[name];
  if (isParameter && (column.kind !== "number" || (space && space.choices))) {
    return categorical(column, present, space && space.choices);
  }
  if (!isParameter) {
    const { low, high } = span(name);
    const of = (row) => (column.values[row] === null ? null
      : Math.min(high, Math.max(low, column.values[row])));
    return numeric({ low, high, log: false, of, values: [] });
  }
  present.sort((a, b) => a - b);
  let [low, high] = [present[0], present[present.length - 1]];
  if (space) [low, high] = [Math.min(low, space.low), Math.max(high, space.high)];
  const log = low > 0 && (space ? space.log : spansDecades(present));
  return numeric({ low, high, log, of: (row) => column.values[row],
    values: present.length <= FEW ? present : [] });
}

function spansDecades(values) {
  if (values[values.length - 1] / values[0] >= 50) return true;
  const ratios = values.slice(1).map((value, i) => value / values[i]);
  return ratios.length >= 2 && ratios[0] >= 1.5
    && ratios.every((ratio) => Math.abs(ratio / ratios[0] - 1) < 0.02);
}

function categorical(column, present, choices) {
  const collator = new Intl.Collator("en", { numeric: true });
  const named = (choices || []).map((value) => (value === null ? null : value));
  const rest = present.filter((value) => !named.some((choice) => String(choice) === String(value)))
    .sort((a, b) => collator.compare(String(a), String(b)));
  const all = [...named.filter((value) => value !== null), ...rest].map(String);
  const index = new Map(all.map((value, i) => [value, i]));
  const of = (row) => (column.values[row] === null ? null : index.get(String(column.values[row])));
  return { log: false, low: 0, high: Math.max(1, all.length - 1), values: [],
    categories: all.map((value) => (Number.isNaN(Number(value)) || value === "" ? value
      : tick(Number(value)))),
    names: all, of, at: (row, turn) => of(row) + 0.5 * jitter(row, turn),
    share: (place) => (place + 0.5) / all.length };
}

function numeric({ low, high, log, of, values }) {
  const scale = log ? Math.log : (value) => value;
  const gaps = values.slice(1).map((value, i) => scale(value) - scale(values[i]));
  const size = gaps.length ? Math.min(0.25 * Math.min(...gaps), 0.06 * (scale(high) - scale(low))) : 0;
  const at = (row, turn) => (log ? of(row) * Math.exp(size * jitter(row, turn))
    : of(row) + size * jitter(row, turn));
  const share = (value) => (high > low ? (scale(value) - scale(low)) / (scale(high) - scale(low)) : 0.5);
  const value = (part) => (log ? low * (high / low) ** part : low + (high - low) * part);
  return { low, high, log, categories: null, values, of, at, share, value };
}

// The axis of a figure for what `placing` returns.
export function parameterAxis(place) {
  if (place.categories) {
    const some = place.categories.slice(0, FEW);
    return { type: "linear", tickmode: "array", tickvals: some.map((_, i) => i), showgrid: false,
      ticktext: some.map((category) => plain(cut(category, 14))), zeroline: false,
      range: [-0.5, place.categories.length - 0.5] };
  }
  const pad = (size) => 0.04 * (size || 1);
  const [low, high] = place.log ? [Math.log10(place.low), Math.log10(place.high)]
    : [place.low, place.high];
  const range = [low - pad(high - low), high + pad(high - low)];
  const axis = { type: place.log ? "log" : "linear", zeroline: false, range };
  if (place.values.length && place.values.length <= 8 && farApart(place)) {
    return { ...axis, tickmode: "array", tickvals: place.values, ticktext: place.values.map(tick) };
  }
  return place.log && high - low >= 1 ? { ...axis, dtick: 1, exponentformat: "power" } : axis;
}

function farApart(place) {
  const shares = place.values.map(place.share);
  return shares.slice(1).every((share, i) => share - shares[i] > 0.1);
}

export function byImportance() {
  const ranked = data.importance.map((entry) => entry.parameter);
  return [...ranked, ...data.varied.filter((name) => !ranked.includes(name))];
}
