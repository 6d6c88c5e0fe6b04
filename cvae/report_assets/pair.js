// Two parameters at once: where the good trials lie, by the rank of the objective.
import { columns, data, inWords, status, target } from "./data.js";
import { config, css, layout } from "./figures.js";
import { COLOURS, clickable, describe } from "./points.js";
import { byImportance, parameterAxis, placing } from "./scales.js";
import { colour } from "./selection.js";
import { state, trials } from "./state.js";
import { plain } from "./text.js";

export function pairChoices() {
  return byImportance();
}

// 0 for the worst complete trial that passes, 1 for the best; equal objectives have equal ranks.
export function ranks(rows) {
  const lower = columns.get(data.target).lower;
  const values = rows.map((row) => (lower ? -target[row] : target[row]));
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (value) => {
    const first = sorted.indexOf(value);
    return (first + sorted.lastIndexOf(value)) / 2;
  };
  return values.map((value) => (rows.length > 1 ? middle(value) / (rows.length - 1) : 1));
}

export function drawPair(node) {
  const [across, up] = state.pair.map(placing);
  const has = (row) => across.of(row) !== null && up.of(row) !== null;
  const rows = trials.passing.filter((row) => has(row) && status[row] === "complete"
    && target[row] !== null);
  const others = trials.passing.filter((row) => has(row) && status[row] !== "complete");
  const common = (some) => ({ type: "scatter", mode: "markers", cliponaxis: false, hoverinfo: "text",
    x: some.map((row) => across.at(row)), y: some.map((row) => up.at(row, 1)), customdata: some,
    text: some.map(describe) });
  const traces = [{ ...common(others), name: "not complete",
    marker: { symbol: "x-thin-open", size: 8, color: css("--bad"), line: { width: 1.3 } } },
  { ...common(rows), name: "complete",
    marker: { size: 11, color: ranks(rows), cmin: 0, cmax: 1, colorscale: COLOURS, showscale: true,
      line: { width: rows.map((row) => (state.selected.has(row) ? 3 : 0.5)),
        color: rows.map((row) => (state.selected.has(row) ? colour(row) : css("--card"))) },
      colorbar: { title: { text: plain(inWords(data.target)), side: "right" }, thickness: 12,
        outlinewidth: 0, tickvals: [0, 0.5, 1], ticktext: ["worst", "median", "best"] } } }];
  return Plotly.react(node, traces, layout({
    margin: { l: 60, r: 12, t: 12, b: 48 },
    xaxis: { ...parameterAxis(across), title: { text: plain(state.pair[0]) } },
    yaxis: { ...parameterAxis(up), title: { text: plain(state.pair[1]) } },
  }), config).then(() => clickable(node));
}
