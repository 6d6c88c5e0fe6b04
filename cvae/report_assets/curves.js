// Learning curves of the selected trials.
import { data } from "./data.js";
import { byId, element } from "./elements.js";
import { config, heading2, layout } from "./figures.js";
import { curveOf } from "./fine.js";
import { colour, dash, swatch, toggle } from "./selection.js";
import { state } from "./state.js";
import { cut, plain, show } from "./text.js";
import { drawTrial } from "./trial.js";

const MOST_CURVES = 40;

export function drawChips() {
  const chips = [...state.selected.keys()].map((row) => {
    const chip = element("span", { class: row === state.current ? "chip current" : "chip",
      "data-chip": row }, swatch(row));
    chip.append(element("button", { type: "button", title: "Show this trial below",
      onclick: () => { state.current = row; drawChips(); drawTrial(); } },
    cut(data.labels[row], 32)));
    chip.append(element("button", { type: "button", title: "Unselect",
      "aria-label": `Unselect ${data.labels[row]}`, onclick: () => toggle(row) }, "×"));
    return chip;
  });
  byId("chips").replaceChildren(...chips);
  const rows = [...state.selected.keys()];
  const without = rows.filter((row) => !(row in data.curves.runs));
  const notes = [];
  if (!rows.length) notes.push("No trial is selected: click rows of the table.");
  if (rows.length > MOST_CURVES) {
    notes.push(`Shown are the first ${MOST_CURVES} of ${rows.length} selected trials.`);
  }
  if (without.length) {
    const some = without.slice(0, 5).map((row) => cut(data.labels[row], 32)).join(", ");
    notes.push(`Never evaluated: ${some}${without.length > 5 ? ", …" : ""}.`);
  }
  byId("curves-note").textContent = notes.join(" ");
}

export function drawCurve(node, panel) {
  const rows = [...state.selected.keys()].filter((row) => row in data.curves.runs);
  const traces = rows.slice(0, MOST_CURVES).map((row) => {
    const { x, y } = curveOf(row, panel.column, state.x);
    return { type: "scatter", mode: y.length > 1 ? "lines" : "markers", x,
      y, name: plain(cut(data.labels[row], 32)), customdata: y.map(() => row),
      text: y.map((value, i) => `<b>${plain(data.labels[row])}</b><br>`
        + `${plain(state.x)} ${show(x[i])}: ${show(value)}`),
      hoverinfo: "text", line: { color: colour(row), dash: dash(row), width: 1.8 },
      marker: { color: colour(row) }, connectgaps: true };
  });
  return Plotly.react(node, traces, layout({
    title: heading2(panel.title),
    xaxis: { title: { text: plain(state.x) }, type: "linear" },
    yaxis: { type: "linear", rangemode: "tozero" },
  }), config);
}
