// Learning curves of the selected trials; of several seeds the mean, with a band over all of them.
import { data, inWords } from "./data.js";
import { byId, element } from "./elements.js";
import { config, heading2, layout } from "./figures.js";
import { finestCurve } from "./fine.js";
import { colour, dash, selectedEntries, swatch, toggle } from "./selection.js";
import { changed, state } from "./state.js";
import { cut, plain, show } from "./text.js";

const MOST_CURVES = 40;

export function drawChips() {
  const chips = selectedEntries().map((entry) => {
    const [row] = entry.rows;
    const chip = element("span", { class: entry.rows.includes(state.current) ? "chip current" : "chip",
      "data-chip": row }, swatch(row));
    chip.append(element("button", { type: "button", title: "Show this trial below",
      onclick: () => { state.current = row; changed("selection"); } },
    cut(entry.label, 32)));
    chip.append(element("button", { type: "button", title: "Unselect",
      "aria-label": `Unselect ${entry.label}`, onclick: () => toggle(row) }, "×"));
    return chip;
  });
  byId("chips").replaceChildren(...chips);
  const entries = selectedEntries();
  const without = [...state.selected.keys()].filter((row) => !(row in data.curves.runs));
  const notes = [];
  if (!entries.length) notes.push("No trial is selected: click rows of the table.");
  if (entries.length > MOST_CURVES) {
    notes.push(`Shown are the first ${MOST_CURVES} of ${entries.length} selected trials.`);
  }
  if (entries.some((entry) => entry.rows.length > 1)) {
    notes.push("A line is the mean over the seeds, its band reaches from the lowest to the highest.");
  }
  if (without.length) {
    const some = without.slice(0, 5).map((row) => cut(data.labels[row], 32)).join(", ");
    notes.push(`Never evaluated: ${some}${without.length > 5 ? ", …" : ""}.`);
  }
  byId("curves-note").textContent = notes.join(" ");
}

// The value of a curve at a place between its points; null outside of them.
function between(xs, ys, at) {
  for (let i = 0; i < xs.length; i += 1) {
    if (xs[i] === at) return ys[i];
    if (i && xs[i - 1] < at && at < xs[i] && ys[i] !== null && ys[i - 1] !== null) {
      return ys[i - 1] + (ys[i] - ys[i - 1]) * (at - xs[i - 1]) / (xs[i] - xs[i - 1]);
    }
  }
  return null;
}

// The mean, the lowest and the highest of several curves, where the longest of them has points.
export function overSeeds(curves) {
  const longest = curves.reduce((a, b) => (b.x.length > a.x.length ? b : a));
  const [x, mean, low, high, n] = [[], [], [], [], []];
  for (const at of longest.x) {
    const values = curves.map((curve) => between(curve.x, curve.y, at)).filter((v) => v !== null);
    if (!values.length) continue;
    x.push(at);
    mean.push(values.reduce((a, b) => a + b, 0) / values.length);
    low.push(Math.min(...values));
    high.push(Math.max(...values));
    n.push(values.length);
  }
  return { x, mean, low, high, n };
}

export function drawCurve(node, panel) {
  const traces = [];
  for (const entry of selectedEntries().slice(0, MOST_CURVES)) {
    const curves = entry.rows.filter((row) => row in data.curves.runs)
      .map((row) => ({ row, ...finestCurve(row, panel.column, state.x) }));
    if (!curves.length) continue;
    const [{ row }] = curves;
    const about = { type: "scatter", name: plain(cut(entry.label, 32)), connectgaps: true,
      line: { color: colour(row), dash: dash(row), width: 1.8 }, marker: { color: colour(row) } };
    if (curves.length === 1) {
      const [run] = curves;
      traces.push({ ...about, mode: run.y.length > 1 ? "lines" : "markers", x: run.x, y: run.y,
        customdata: run.y.map(() => row), hoverinfo: "text",
        text: run.y.map((value, i) => `<b>${plain(entry.label)}</b><br>`
          + `${plain(state.x)} ${show(run.x[i])}: ${show(value)}`) });
      continue;
    }
    const band = overSeeds(curves);
    traces.push({ ...about, name: `${about.name} band`, mode: "lines", hoverinfo: "skip", fill: "toself",
      x: [...band.x, ...[...band.x].reverse()], y: [...band.high, ...[...band.low].reverse()],
      fillcolor: colour(row) + "33", line: { width: 0, color: colour(row) } });
    traces.push({ ...about, mode: band.x.length > 1 ? "lines" : "markers", x: band.x, y: band.mean,
      hoverinfo: "text",
      text: band.x.map((at, i) => `<b>${plain(entry.label)}</b><br>${plain(state.x)} ${show(at)}: `
        + `${show(band.mean[i])} (${show(band.low[i])} to ${show(band.high[i])}, n = ${band.n[i]})`) });
  }
  return Plotly.react(node, traces, layout({
    title: heading2(inWords(panel.column)),
    xaxis: { title: { text: plain(state.x) }, type: "linear" },
    yaxis: { type: "linear", rangemode: "tozero" },
  }), config);
}
