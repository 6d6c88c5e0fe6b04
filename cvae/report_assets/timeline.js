// Which worker ran what, and when.
import { data, status } from "./data.js";
import { config, legendAbove, layout } from "./figures.js";
import { clickable, describe, statusColour } from "./points.js";
import { colour } from "./selection.js";
import { state, trials } from "./state.js";
import { plain } from "./text.js";

// Pieces of work: those of the study where there is one, for it knows when a trial failed.
const pieces = (() => {
  const ofStudy = data.studyTrials.filter((trial) => trial.started !== null)
    .map(({ row, started, ended, worker }) => ({ row, started, ended, worker }));
  const known = new Set(ofStudy.map((piece) => piece.row));
  const others = data.runs.map(([started, seconds], row) => ({ row, started, worker: "",
    ended: started === null || seconds === null ? null : started + seconds }))
    .filter((piece) => piece.started !== null && !known.has(piece.row));
  return [...ofStudy, ...others].sort((a, b) => a.started - b.started);
})();

export function hasTimes() {
  return pieces.length > 1;
}

// A lane holds what one worker does, one piece after another; a worker may need several.
function lanes(some, end) {
  const found = []; // { worker, until }
  return [some.map((piece) => {
    let lane = found.findIndex((one) => one.worker === piece.worker && one.until <= piece.started + 0.5);
    if (lane < 0) lane = found.push({ worker: piece.worker, until: 0 }) - 1;
    found[lane].until = piece.ended ?? end;
    return lane;
  }), found];
}

export function drawTimeline(node) {
  const kept = new Set(trials.passing);
  const some = pieces.filter((piece) => kept.has(piece.row));
  const start = some.length ? some[0].started : 0;
  const end = some.reduce((a, piece) => Math.max(a, piece.ended ?? piece.started), start);
  const [lane, found] = lanes(some, end);
  const [unit, name] = end - start > 7200 ? [3600, "hours"] : end - start > 120 ? [60, "minutes"]
    : [1, "seconds"];
  node.style.height = `${Math.max(160, Math.min(900, 26 * found.length + 80))}px`;
  const traces = data.statuses.map((one) => {
    const mine = some.map((_, i) => i).filter((i) => status[some[i].row] === one);
    const length = (i) => Math.max((some[i].ended ?? end) - some[i].started, (end - start) / 400);
    return { type: "bar", orientation: "h", name: one, y: mine.map((i) => lane[i]), width: 0.8,
      base: mine.map((i) => (some[i].started - start) / unit), x: mine.map((i) => length(i) / unit),
      customdata: mine.map((i) => some[i].row), hoverinfo: "text", textposition: "none",
      text: mine.map((i) => `${describe(some[i].row)}<br>${some[i].ended === null ? "no end known"
        : `${Math.round(some[i].ended - some[i].started)} s`}`),
      marker: { color: mine.map((i) => (state.selected.has(some[i].row) ? colour(some[i].row)
        : statusColour(one))), line: { width: 0 } } };
  }).filter((trace) => trace.y.length);
  return Plotly.react(node, traces, layout({
    ...legendAbove(node, { l: 60, r: 16, b: 44 }), barmode: "overlay",
    xaxis: { title: { text: `${name} since the first start` }, type: "linear", zeroline: false },
    yaxis: { type: "linear", autorange: "reversed", showgrid: false, zeroline: false, tickmode: "array",
      tickvals: found.map((_, i) => i), ticktext: found.map(({ worker }, i) => plain(worker || i + 1)) },
  }), config).then(() => clickable(node));
}
