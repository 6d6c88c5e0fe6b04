// How much each parameter explains alone.
import { data } from "./data.js";
import { config, css, layout } from "./figures.js";
import { cut, plain } from "./text.js";

export function drawImportance(node) {
  const some = data.importance.filter((entry) => entry.importance !== null).reverse();
  node.style.height = `${Math.max(140, 30 * some.length + 70)}px`;
  const names = some.map((entry) => plain(cut(entry.parameter, 40)));
  const texts = some.map((entry) => `${plain(entry.parameter)}: ${entry.importance.toFixed(3)}`
    + `<br>noise level ${entry.noise.toFixed(3)}<br>${entry.n} trials`);
  const places = names.map((_, i) => i);
  const bars = { type: "bar", orientation: "h", y: places, x: some.map((e) => e.importance),
    text: texts, hoverinfo: "text", textposition: "none", width: 0.62,
    marker: { color: some.map((e) => (e.importance > e.noise ? css("--accent")
      : css("--faint"))) } };
  const noise = { type: "scatter", mode: "markers", y: places, x: some.map((e) => e.noise),
    text: texts, hoverinfo: "text", marker: { symbol: "line-ns-open", size: 20,
      color: css("--ink"), line: { width: 2 } } };
  return Plotly.react(node, [bars, noise], layout({
    margin: { l: 60, r: 20, t: 8, b: 44 },
    xaxis: { title: { text: "rank variance explained" }, type: "linear",
      rangemode: "tozero" },
    yaxis: { type: "linear", tickmode: "array", tickvals: places, ticktext: names,
      showgrid: false, zeroline: false },
  }), config);
}
