// The course of a search: each trial's objective in the order of the trials, and the best so far.
import { columns, data, inWords, status, target } from "./data.js";
import { config, css, legendAbove, layout } from "./figures.js";
import { clickable, points } from "./points.js";
import { axisRange, clamp, span } from "./scales.js";
import { trials } from "./state.js";
import { plain } from "./text.js";

// A search repeats its best trials under other seeds: these repeats are no trials of their own.
const repeated = columns.has("confirms") ? columns.get("confirms").values : [];
const isRepeat = (row) => Number.isFinite(repeated[row]);

const numbers = columns.get("trial").values;
const isOneSearch = new Set(columns.get("sweep").values).size === 1
  && numbers.every((number) => number !== null) && new Set(numbers).size === numbers.length;

// Trials of several searches, or runs without numbers, come in the order in which they started.
const places = (() => {
  if (isOneSearch) return numbers;
  const started = (row) => data.runs[row][0] ?? Infinity;
  const order = numbers.map((_, row) => row).sort((a, b) => started(a) - started(b) || a - b);
  const found = [];
  order.forEach((row, i) => { found[row] = i + 1; });
  return found;
})();

const continued = new Map(data.studyTrials.filter((trial) => trial.continues !== null)
  .map((trial) => [trial.row, trial.continues]));

export function bestSoFar(rows) {
  const better = columns.get(data.target).lower ? (a, b) => a < b : (a, b) => a > b;
  const [x, y, best] = [[], [], []];
  for (const row of [...rows].sort((a, b) => places[a] - places[b])) {
    if (status[row] !== "complete" || target[row] === null || isRepeat(row)) continue;
    if (y.length && !better(target[row], y[y.length - 1])) continue;
    x.push(places[row]);
    y.push(target[row]);
    best.push(row);
  }
  return { x, y, best };
}

export function drawHistory(node) {
  const range = span(data.target);
  const rows = trials.passing;
  const traces = points(rows, (row) => places[row], (row) => clamp(target[row], range));
  const { x, y, best } = bestSoFar(rows);
  const last = rows.reduce((a, row) => Math.max(a, places[row]), 0);
  if (x.length) {
    traces.unshift({ type: "scatter", mode: "lines", name: "best so far", hoverinfo: "skip",
      x: [...x, last], y: [...y, y[y.length - 1]], customdata: [...best, best[best.length - 1]],
      line: { shape: "hv", color: css("--accent"), width: 2 } });
  }
  const mark = (some, name, symbol, says) => {
    if (!some.length) return;
    traces.push({ type: "scatter", mode: "markers", name, customdata: some, hoverinfo: "text",
      x: some.map((row) => places[row]), y: some.map((row) => clamp(target[row], range)),
      text: some.map((row) => `${plain(data.labels[row])} ${says(row)}`),
      marker: { symbol, size: 14, color: css("--ink"), line: { width: 1.3 } } });
  };
  mark(rows.filter((row) => continued.has(row)), "continues another trial", "circle-open",
    (row) => `continues trial ${continued.get(row)}`);
  mark(rows.filter(isRepeat), "repeats another trial under another seed", "diamond-open",
    (row) => `repeats trial ${repeated[row]} under another seed`);
  return Plotly.react(node, traces, layout({
    ...legendAbove(node, { l: 56, r: 20, b: 48 }),
    xaxis: { title: { text: isOneSearch ? "trial" : "run, in the order of their starts" },
      type: "linear", zeroline: false },
    yaxis: { title: { text: plain(inWords(data.target)) }, type: "linear", range: axisRange(range),
      zeroline: false },
  }), config).then(() => clickable(node));
}
