// Parallel coordinates: one line a trial, and brushes on the axes.
import { columns, count, data, status, target } from "./data.js";
import { byId } from "./elements.js";
import { config, css, layout } from "./figures.js";
import { byImportance, placing } from "./scales.js";
import { colour, dash } from "./selection.js";
import { changed, trials, state } from "./state.js";
import { cut, plain, short } from "./text.js";

const MOST_AXES = 12;
const SCALE = ["#46327e", "#3f4a8a", "#365c8d", "#2e6f8e", "#277f8e", "#1fa187", "#35b779",
  "#5ec962", "#8fd744", "#c8d92b"];

const MISSING = -0.1; // where a line passes an axis on which the trial has no value
const axes = [...byImportance().slice(0, MOST_AXES - 3),
  ...new Set(["objective_bleu4", "objective_gaussian_score", data.target])]
  .filter((name) => columns.get(name).values.some((value) => value !== null))
  .map((name) => ({ name, place: placing(name) }));
const heights = axes.map(({ place }) => {
  const scale = place.log ? Math.log : (value) => value;
  const [low, high] = [scale(place.low), scale(place.high)];
  return Array.from({ length: count }, (_, row) => {
    const value = place.of(row);
    if (value === null) return MISSING;
    return high > low ? (scale(value) - low) / (high - low) : 0.5;
  });
});

export function drawParallel(node) {
  if (!axes.length) return null;
  node.style.minWidth = `${Math.max(500, 92 * axes.length)}px`;
  const kept = new Set(trials.passing);
  const values = trials.filtered.map((row) => target[row])
    .filter((value, i) => value !== null && status[trials.filtered[i]] === "complete");
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  // One trace for each shade: a trace for each of a thousand trials would take seconds.
  const bins = new Map();
  const add = (key, row) => {
    if (!bins.has(key)) bins.set(key, []);
    bins.get(key).push(row);
  };
  for (const row of trials.filtered) {
    if (state.selected.has(row) && kept.has(row)) continue;
    if (!kept.has(row)) add("out", row);
    else if (status[row] !== "complete" || target[row] === null) add("off", row);
    else {
      const share = high > low ? (target[row] - low) / (high - low) : 1;
      add(Math.min(SCALE.length - 1, Math.floor(share * SCALE.length)), row);
    }
  }
  const many = trials.filtered.length > 200;
  const trace = (rows, line, opacity) => {
    const [x, y] = [[], []];
    for (const row of rows) {
      axes.forEach((_, i) => { x.push(i); y.push(heights[i][row]); });
      x.push(null);
      y.push(null);
    }
    return { type: "scatter", mode: "lines", x, y, line, opacity, hoverinfo: "skip" };
  };
  const traces = [];
  if (bins.has("out")) traces.push(trace(bins.get("out"), { color: css("--line"), width: 1 }, 0.5));
  if (bins.has("off")) {
    traces.push(trace(bins.get("off"), { color: css("--bad"), width: 1, dash: "dot" }, 0.5));
  }
  SCALE.forEach((shade, i) => {
    if (bins.has(i)) {
      traces.push(trace(bins.get(i), { color: shade, width: many ? 1 : 1.5 }, many ? 0.55 : 0.8));
    }
  });
  for (const row of state.selected.keys()) {
    if (kept.has(row)) {
      // An edge of ink keeps it apart from lines whose shade is like its colour.
      traces.push(trace([row], { color: css("--ink"), width: 6 }, 1));
      traces.push(trace([row], { color: colour(row), dash: dash(row), width: 3.5 }, 1));
    }
  }
  // The colour bar needs a trace of its own, and a box needs points to select among.
  traces.push({ type: "scatter", mode: "markers", x: axes.map((_, i) => i),
    y: axes.map(() => 0.5), hoverinfo: "skip", marker: { size: 1, opacity: 0,
      color: axes.map(() => low), cmin: low, cmax: high, showscale: high > low,
      colorscale: SCALE.map((shade, i) => [i / (SCALE.length - 1), shade]),
      colorbar: { title: { text: plain(short(data.target)), side: "right" }, thickness: 12,
        outlinewidth: 0 } } });
  const [shapes, annotations] = [[], []];
  axes.forEach(({ name, place }, i) => {
    shapes.push({ type: "line", x0: i, x1: i, y0: 0, y1: 1, layer: "above",
      line: { color: css("--soft"), width: 1 } });
    // No hover text: it would make the label swallow a drag that begins on it.
    const dot = name.startsWith("objective") ? -1 : name.lastIndexOf(".");
    const group = dot > 0 ? `<span style="font-size:10px">${plain(cut(name.slice(0, dot + 1), 16))}`
      + "</span><br>" : "";
    annotations.push({ x: i, y: 1.04, yanchor: "bottom", showarrow: false, font: { size: 12 },
      text: group + plain(cut(short(name), 16)) });
    const label = (y, text) => annotations.push({ x: i, y, xanchor: "left", xshift: 3,
      text: plain(cut(text, 12)), showarrow: false, font: { size: 10.5, color: css("--ink") },
      bgcolor: css("--card"), opacity: 0.85, borderpad: 1 });
    if (place.categories) {
      const step = Math.ceil(place.categories.length / 10);
      place.categories.forEach((category, at) => {
        if (at % step) return;
        label(place.categories.length > 1 ? at / place.high : 0, category);
      });
    } else {
      const middle = place.log ? Math.sqrt(place.low * place.high) : (place.low + place.high) / 2;
      const ends = place.high > place.low
        ? [[0, place.low], [0.5, middle], [1, place.high]] : [[0.5, place.low]];
      for (const [y, value] of ends) label(y, String(Number(value.toPrecision(3))));
    }
    if (heights[i].some((height) => height === MISSING)) label(MISSING, "none");
  });
  return Plotly.react(node, traces, layout({
    margin: { l: 24, r: 24, t: 24, b: 16 }, shapes, annotations, dragmode: "select",
    selectdirection: "any", newselection: { line: { color: css("--accent") } },
    xaxis: { visible: false, range: [-0.25, axes.length - 1 + 0.55], fixedrange: true },
    yaxis: { visible: false, range: [-0.16, 1.14], fixedrange: true },
    selections: [],
  }), config).then(() => {
    if (node.dataset.brushable) return;
    node.dataset.brushable = "yes";
    node.on("plotly_selected", (event) => { if (event && event.range) brush(event.range); });
  });
}

export function brush(range) {
  const [x0, x1] = [...range.x].sort((a, b) => a - b);
  const [y0, y1] = [...range.y].sort((a, b) => a - b);
  const crossed = axes.map((_, i) => i).filter((i) => i >= x0 && i <= x1);
  if (!crossed.length) return; // a box between two axes says nothing
  const rows = new Set();
  for (let row = 0; row < count; row += 1) {
    if (crossed.every((i) => heights[i][row] >= y0 && heights[i][row] <= y1)) rows.add(row);
  }
  state.brushes.push(rows);
  brushesChanged();
}

export function brushesChanged() {
  byId("clear-brush").disabled = !state.brushes.length;
  changed("filters");
  byId("brush-note").textContent = state.brushes.length
    ? `${trials.passing.length} of ${trials.filtered.length} trials pass the brush.` : "";
}
