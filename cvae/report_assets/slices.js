// The objective against each parameter.
import { data, target } from "./data.js";
import { byId, element } from "./elements.js";
import { addPanel, config, heading2, layout, removePanels } from "./figures.js";
import { clickable, points } from "./points.js";
import { axisRange, byImportance, clamp, placing, span } from "./scales.js";
import { trials, state } from "./state.js";
import { cut, plain, short } from "./text.js";

const MOST_PANELS = 24;

function drawParameter(node, name) {
  const place = placing(name);
  const range = span(data.target);
  const rows = trials.passing.filter((row) => place.of(row) !== null);
  const without = trials.passing.length - rows.length;
  // Golden-ratio jitter: the same every time, and even for any number of points.
  const jitter = (row) => (place.categories ? 0.5 * (((row * 0.6180339887) % 1) - 0.5) : 0);
  const traces = points(rows, (row) => place.of(row) + jitter(row),
    (row) => clamp(target[row], range));
  const xaxis = { type: place.log ? "log" : "linear", title: { text: "" } };
  if (place.categories) {
    const some = place.categories.slice(0, 12);
    Object.assign(xaxis, { tickmode: "array", tickvals: some.map((_, i) => i),
      ticktext: some.map((category) => plain(cut(category, 14))), showgrid: false,
      range: [-0.5, place.categories.length - 0.5], zeroline: false });
  } else if (place.log) Object.assign(xaxis, { dtick: 1, exponentformat: "power" });
  const title = without ? `${name} (${without} without)` : name;
  return Plotly.react(node, traces, layout({ title: heading2(cut(title, 44)), xaxis,
    yaxis: { type: "linear", title: { text: plain(short(data.target)) },
      range: axisRange(range), zeroline: false } }), config)
    .then(() => clickable(node));
}

export function buildParameters() {
  removePanels("parameters");
  const names = byImportance();
  const shown = state.everyPanel ? names : names.slice(0, MOST_PANELS);
  const box = byId("parameter-panels");
  box.replaceChildren();
  for (const name of shown) {
    const node = element("div", { class: "plot", "data-parameter": name });
    box.append(node);
    addPanel("parameters", node, (at) => drawParameter(at, name));
  }
  if (!names.length) box.append(element("p", { class: "hint" }, "No parameter varies."));
  if (shown.length < names.length) {
    box.append(element("button", { type: "button", onclick: () => {
      state.everyPanel = true;
      buildParameters();
    } }, `Show the other ${names.length - shown.length}`));
  }
}
