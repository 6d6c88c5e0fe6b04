// Trials as points of a figure.
import { columns, data, status } from "./data.js";
import { css } from "./figures.js";
import { colour, toggle } from "./selection.js";
import { state } from "./state.js";
import { cut, plain, show } from "./text.js";

const SYMBOLS = { complete: "circle", pruned: "triangle-down-open", diverged: "x-thin-open",
  failed: "cross-thin-open", interrupted: "square-open", unreadable: "diamond-open" };

export function describe(row) {
  const lines = [`<b>${plain(data.labels[row])}</b> ${plain(status[row])}`];
  for (const name of new Set([data.target, ...data.varied.slice(0, 8)])) {
    const value = columns.get(name).values[row];
    if (value !== null) lines.push(`${plain(name)} = ${plain(cut(show(value), 60))}`);
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
        opacity: name === "complete" ? 0.6 : 0.9,
        color: name === "complete" ? css("--point")
          : name === "pruned" || name === "interrupted" ? css("--warn") : css("--bad"),
        line: { width: name === "complete" ? 0 : 1.3 } } });
  }
  const some = rows.filter((row) => state.selected.has(row));
  traces.push({ type: "scatter", mode: "markers", name: "selected", showlegend: false,
    x: some.map(x), y: some.map(y), customdata: some, text: some.map(describe), hoverinfo: "text", cliponaxis: false,
    marker: { symbol: some.map((row) => (SYMBOLS[status[row]] || "circle").replace("-open", "")),
      size: 11, color: some.map(colour), line: { width: 1.5, color: css("--ink") } } });
  return traces;
}
