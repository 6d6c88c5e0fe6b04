// The Pareto front of the objective's two parts.
import { columns, data, inWords } from "./data.js";
import { config, css, legendAbove, layout } from "./figures.js";
import { clickable, describe, points } from "./points.js";
import { axisRange, clamp, span } from "./scales.js";
import { trials } from "./state.js";
import { plain } from "./text.js";

export function drawPareto(node) {
  const [x, y] = data.pair.map((name) => columns.get(name).values);
  const rows = trials.passing.filter((row) => x[row] !== null && y[row] !== null);
  const front = data.front;
  const [across, up] = data.pair.map(span);
  const traces = points(rows, (row) => clamp(x[row], across), (row) => clamp(y[row], up));
  traces.splice(traces.length - 1, 0, { type: "scatter", mode: "lines+markers", name: "Pareto front",
    x: front.map((row) => x[row]), y: front.map((row) => y[row]), customdata: front,
    text: front.map((row) => `on the front<br>${describe(row)}`), hoverinfo: "text",
    line: { shape: "hv", color: css("--accent"), width: 1.5 },
    marker: { size: 9, symbol: "diamond", color: css("--accent") } });
  return Plotly.react(node, traces, layout({
    ...legendAbove(node, { l: 56, r: 20, b: 48 }),
    xaxis: { title: { text: plain(inWords(data.pair[0])) }, type: "linear", range: axisRange(across),
      zeroline: false },
    yaxis: { title: { text: plain(inWords(data.pair[1])) }, type: "linear", range: axisRange(up),
      zeroline: false },
  }), config).then(() => clickable(node));
}
