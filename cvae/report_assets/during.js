// All trials during training: what they reported to the study, or a column of their evaluations.
import { columns, data, inWords, status, target } from "./data.js";
import { config, css, layout } from "./figures.js";
import { COLOURS, SCALE, clickable, describe } from "./points.js";
import { dash, colour } from "./selection.js";
import { state, trials } from "./state.js";
import { plain, show } from "./text.js";

const REPORTED = "reported";

// What can be shown: the values that a pruner saw come first.
export function duringChoices() {
  const reported = data.studyTrials.some((trial) => trial.steps.length);
  const measured = data.curves.panels.map((panel) => panel.column)
    .filter((name) => columns.has(name) || ["cross_entropy", "kl"].includes(name));
  return [...(reported ? [[REPORTED, "Objective, as reported to the study"]] : []),
    ...measured.map((name) => [name, inWords(name)])];
}

function curveOf(row) {
  if (state.during === REPORTED) {
    const some = data.studyTrials.filter((trial) => trial.row === row);
    return { x: some.flatMap((trial) => trial.steps), y: some.flatMap((trial) => trial.values) };
  }
  const run = data.curves.runs[row];
  if (!run) return { x: [], y: [] };
  const place = (name) => data.curves.columns.indexOf(name);
  return { x: run[place(data.curves.x[0])], y: run[place(state.during)] };
}

export function drawDuring(node) {
  const complete = trials.passing.filter((row) => status[row] === "complete" && target[row] !== null);
  const low = complete.reduce((a, row) => Math.min(a, target[row]), Infinity);
  const high = complete.reduce((a, row) => Math.max(a, target[row]), -Infinity);
  // One trace for each shade: a trace for each of a thousand trials would take seconds.
  const bins = new Map();
  for (const row of trials.passing) {
    if (state.selected.has(row)) continue;
    const share = high > low ? (target[row] - low) / (high - low) : 1;
    const key = status[row] === "complete" && target[row] !== null
      ? Math.min(SCALE.length - 1, Math.floor(share * SCALE.length)) : "off";
    if (!bins.has(key)) bins.set(key, []);
    bins.get(key).push(row);
  }
  const trace = (rows, line, opacity) => {
    const [x, y, customdata, text] = [[], [], [], []];
    for (const row of rows) {
      const curve = curveOf(row);
      curve.x.forEach((at, i) => {
        x.push(at);
        y.push(curve.y[i]);
        customdata.push(row);
        text.push(`${describe(row)}<br>at step ${show(at)}: ${show(curve.y[i])}`);
      });
      x.push(null);
      y.push(null);
      customdata.push(null);
      text.push("");
    }
    return { type: "scatter", mode: "lines", x, y, customdata, text, hoverinfo: "text", line, opacity };
  };
  const ends = trials.passing.filter((row) => status[row] !== "complete")
    .map((row) => [row, curveOf(row)]).filter(([, curve]) => curve.x.length);
  const traces = [];
  if (bins.has("off")) traces.push(trace(bins.get("off"), { color: css("--bad"), width: 1, dash: "dot" }, 0.8));
  SCALE.forEach((shade, i) => {
    if (bins.has(i)) traces.push(trace(bins.get(i), { color: shade, width: 1.2 }, 0.7));
  });
  for (const row of trials.passing.filter((one) => state.selected.has(one))) {
    traces.push(trace([row], { color: colour(row), dash: dash(row), width: 3 }, 1));
  }
  traces.push({ type: "scatter", mode: "markers", hoverinfo: "skip",
    x: ends.map(([, curve]) => curve.x[curve.x.length - 1]),
    y: ends.map(([, curve]) => curve.y[curve.y.length - 1]),
    marker: { symbol: "x-thin-open", size: 7, color: css("--bad"), line: { width: 1.5 } } });
  if (high > low) {
    traces.push({ type: "scatter", mode: "markers", x: [null], y: [null], hoverinfo: "skip",
      marker: { color: [low], cmin: low, cmax: high, showscale: true, colorscale: COLOURS,
        colorbar: { title: { text: plain(inWords(data.target)), side: "right" }, thickness: 12,
          outlinewidth: 0 } } });
  }
  const label = state.during === REPORTED ? "Objective as reported" : inWords(state.during);
  return Plotly.react(node, traces, layout({
    margin: { l: 56, r: 12, t: 12, b: 44 },
    xaxis: { title: { text: "step" }, type: "linear" },
    yaxis: { title: { text: plain(label) }, type: "linear" },
  }), config).then(() => clickable(node));
}
