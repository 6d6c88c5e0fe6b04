// Trials as points of a figure.
import { columns, data, inWords, status } from "./data.js";
import { css } from "./figures.js";
import { showIn } from "./numbers.js";
import { colour, toggle } from "./selection.js";
import { state } from "./state.js";
import { cut, plain } from "./text.js";

const SYMBOLS = { complete: "circle", pruned: "triangle-down-open", diverged: "x-thin-open",
  failed: "cross-thin-open", interrupted: "square-open", running: "circle-open",
  unreadable: "diamond-open" };

export const SCALE = ["#46327e", "#3f4a8a", "#365c8d", "#2e6f8e", "#277f8e", "#1fa187", "#35b779",
  "#5ec962", "#8fd744", "#c8d92b"];

export const COLOURS = SCALE.map((shade, i) => [i / (SCALE.length - 1), shade]);

export function statusColour(name) {
  if (name === "complete") return css("--point");
  return ["pruned", "interrupted", "running"].includes(name) ? css("--warn") : css("--bad");
}

const described = new Map(); // it is asked for at every point of every figure

export function describe(row) {
  if (!described.has(row)) described.set(row, description(row));
  return described.get(row);
}

function description(row) {
  const lines = [`<b>${plain(data.labels[row])}</b> ${plain(status[row])}`];
  const reason = columns.get("reason").values[row];
  if (reason) lines.push(plain(cut(reason, 60)));
  for (const name of new Set([data.target, ...data.varied.slice(0, 8), "seed"])) {
    const column = columns.get(name);
    if (column.values[row] !== null) {
      lines.push(`${plain(inWords(name))} = ${plain(cut(showIn(column, column.values[row]), 60))}`);
    }
  }
  return lines.join("<br>");
}

export function clickable(node) {
  if (node.dataset.clickable) return;
  node.dataset.clickable = "yes";
  node.on("plotly_click", (event) => {
    const row = event.points[0].customdata;
    if (typeof row === "number") toggle(row);
  });
}

// Traces of points: one for each status, then the selected ones on top.
export function points(rows, x, y) {
  const traces = [];
  for (const name of data.statuses) {
    const some = rows.filter((row) => status[row] === name && !state.selected.has(row));
    if (!some.length) continue;
    traces.push({ type: "scatter", mode: "markers", name, x: some.map(x), y: some.map(y),
      customdata: some, text: some.map(describe), hoverinfo: "text", cliponaxis: false,
      marker: { symbol: SYMBOLS[name] || "circle", size: name === "complete" ? 6 : 7,
        opacity: name === "complete" ? 0.6 : 0.9, color: statusColour(name),
        line: { width: name === "complete" ? 0 : 1.3 } } });
  }
  const some = rows.filter((row) => state.selected.has(row));
  traces.push({ type: "scatter", mode: "markers", name: "selected", showlegend: false,
    x: some.map(x), y: some.map(y), customdata: some, text: some.map(describe), hoverinfo: "text",
    cliponaxis: false,
    marker: { symbol: some.map((row) => (SYMBOLS[status[row]] || "circle").replace("-open", "")),
      size: 11, color: some.map(colour), line: { width: 1.5, color: css("--ink") } } });
  return traces;
}
