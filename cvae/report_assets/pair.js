// Two parameters at once: where the good trials lie, by rank or as a contour of the objective.
import { surface, whyNoSurface } from "./contour.js";
import { columns, data, inWords, status, target } from "./data.js";
import { byId } from "./elements.js";
import { config, css, layout } from "./figures.js";
import { COLOURS, clickable, describe } from "./points.js";
import { byImportance, parameterAxis, placing } from "./scales.js";
import { colour } from "./selection.js";
import { state, trials } from "./state.js";
import { plain } from "./text.js";

export const PAIR_KINDS = [["rank", "rank of the trials"], ["contour", "contour of the objective"]];

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
  const obstacle = state.pairKind === "contour" ? whyNoSurface(across, up, rows) : null;
  byId("pair-note").textContent = obstacle ? `${obstacle} Shown is the rank.` : "";
  const isContour = state.pairKind === "contour" && !obstacle;
  const bar = { title: { text: plain(inWords(data.target)), side: "right" }, thickness: 12,
    outlinewidth: 0 };
  const values = rows.map((row) => target[row]);
  const shades = isContour
    ? { color: values, cmin: Math.min(...values), cmax: Math.max(...values), size: 12 }
    : { color: ranks(rows), cmin: 0, cmax: 1, size: 11 };
  const traces = [{ ...common(others), name: "not complete",
    marker: { symbol: "x-thin-open", size: 8, color: css("--bad"), line: { width: 1.3 } } },
  { ...common(rows), name: "complete",
    marker: { ...shades, colorscale: COLOURS, reversescale: isContour && columns.get(data.target).lower,
      showscale: true,
      line: { width: rows.map((row) => (state.selected.has(row) ? 3 : isContour ? 1.5 : 0.5)),
        color: rows.map((row) => (state.selected.has(row) ? colour(row) : css("--card"))) },
      colorbar: isContour ? bar
        : { ...bar, tickvals: [0, 0.5, 1], ticktext: ["worst", "median", "best"] } } }];
  if (isContour) {
    traces.unshift({ type: "contour", name: "contour", hoverinfo: "skip", showscale: false,
      ...surface(across, up, rows, (row) => target[row]), colorscale: COLOURS,
      zmin: shades.cmin, zmax: shades.cmax, reversescale: columns.get(data.target).lower,
      ncontours: 12, line: { width: 0.5, color: css("--card") } });
  }
  return Plotly.react(node, traces, layout({
    margin: { l: 60, r: 12, t: 12, b: 48 },
    xaxis: { ...parameterAxis(across), title: { text: plain(state.pair[0]) } },
    yaxis: { ...parameterAxis(up), title: { text: plain(state.pair[1]) } },
  }), config).then(() => clickable(node));
}
