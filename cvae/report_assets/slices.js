// The objective against each parameter.
import { data, inWords, target } from "./data.js";
import { byId, element } from "./elements.js";
import { addPanel, config, heading2, layout, removePanels } from "./figures.js";
import { clickable, points } from "./points.js";
import { axisRange, byImportance, clamp, parameterAxis, placing, span } from "./scales.js";
import { state, trials } from "./state.js";
import { cut, plain } from "./text.js";

const MOST_PANELS = 24;

function drawParameter(node, name) {
  const place = placing(name);
  const range = span(data.target);
  const rows = trials.passing.filter((row) => place.of(row) !== null);
  const without = trials.passing.length - rows.length;
  const traces = points(rows, (row) => place.at(row), (row) => clamp(target[row], range));
  const title = without ? `${name} (${without} without)` : name;
  return Plotly.react(node, traces, layout({ title: heading2(cut(title, 44)),
    xaxis: { ...parameterAxis(place), title: { text: "" } },
    yaxis: { type: "linear", title: { text: plain(cut(inWords(data.target), 24)) },
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
    box.append(element("div", {}, node));
    addPanel("parameters", node, (at) => drawParameter(at, name),
      `${inWords(data.target)} against ${name}`);
  }
  if (shown.length < names.length) {
    box.append(element("button", { type: "button", onclick: () => {
      state.everyPanel = true;
      buildParameters();
    } }, `Show the other ${names.length - shown.length}`));
  }
}
