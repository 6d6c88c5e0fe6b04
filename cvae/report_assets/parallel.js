// Parallel coordinates: one line a trial, brushes on the axes, a trial's name under the mouse.
import { columns, count, data, inWords, status, target } from "./data.js";
import { byId, element } from "./elements.js";
import { config, css, layout } from "./figures.js";
import { COLOURS, SCALE, describe } from "./points.js";
import { byImportance, placing } from "./scales.js";
import { colour, dash, toggle } from "./selection.js";
import { changed, state, trials } from "./state.js";
import { cut, plain, short } from "./text.js";

const MOST_AXES = 12;
const MISSING = -0.1; // where a line passes an axis on which the trial has no value
const BAND = 0.36; // half the height that a category's lines are spread over, of its share
const NEAR = 9; // pixels

const known = new Map(); // name -> { name, place, heights }

function possibleAxes() {
  return [...byImportance(), ...data.pair, data.target]
    .filter((name, i, all) => all.indexOf(name) === i)
    .filter((name) => columns.get(name).values.some((value) => value !== null));
}

function shownAxes() {
  if (state.axes) return state.axes;
  const possible = possibleAxes();
  const measures = possible.filter((name) => columns.get(name).group !== "parameter");
  const parameters = possible.filter((name) => columns.get(name).group === "parameter");
  return [...parameters.slice(0, MOST_AXES - measures.length), ...measures];
}

function axisOf(name) {
  if (!known.has(name)) {
    const place = placing(name);
    known.set(name, { name, place, heights: place.categories ? spread(place)
      : Array.from({ length: count }, (_, row) => {
        const value = place.of(row);
        return value === null ? MISSING : place.share(value);
      }) });
  }
  return known.get(name);
}

// The lines of one category lie side by side, the best on top: their band shows how many they are.
function spread(place) {
  const heights = Array(count).fill(MISSING);
  const worth = (row) => (target[row] === null ? -Infinity
    : columns.get(data.target).lower ? -target[row] : target[row]);
  place.categories.forEach((_, i) => {
    const rows = Array.from({ length: count }, (__, row) => row).filter((row) => place.of(row) === i);
    rows.sort((a, b) => worth(a) - worth(b));
    rows.forEach((row, at) => {
      const part = rows.length > 1 ? at / (rows.length - 1) : 0.5;
      heights[row] = (i + 0.5 + BAND * (2 * part - 1)) / place.categories.length;
    });
  });
  return heights;
}

export function drawParallel(node) {
  const axes = shownAxes().map(axisOf);
  node.style.minWidth = `${Math.max(320, 92 * axes.length)}px`;
  const kept = new Set(trials.passing);
  const values = trials.filtered.map((row) => target[row])
    .filter((value, i) => value !== null && status[trials.filtered[i]] === "complete");
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  // One trace for each shade: a trace for each of a thousand trials would take seconds.
  const bins = new Map();
  const add = (key, row) => {
    if (!bins.has(key)) bins.set(key, []);
    bins.get(key).push(row);
  };
  for (const row of trials.filtered) {
    if (state.selected.has(row) && kept.has(row)) continue;
    if (!kept.has(row)) add("out", row);
    else if (status[row] !== "complete" || target[row] === null) add("off", row);
    else {
      const share = high > low ? (target[row] - low) / (high - low) : 1;
      add(Math.min(SCALE.length - 1, Math.floor(share * SCALE.length)), row);
    }
  }
  const many = trials.filtered.length > 200;
  const trace = (rows, line, opacity) => {
    const [x, y] = [[], []];
    for (const row of rows) {
      axes.forEach((axis, i) => { x.push(i); y.push(axis.heights[row]); });
      x.push(null);
      y.push(null);
    }
    return { type: "scatter", mode: "lines", x, y, line, opacity, hoverinfo: "skip" };
  };
  const traces = [];
  if (bins.has("out")) traces.push(trace(bins.get("out"), { color: css("--line"), width: 1 }, 0.5));
  if (bins.has("off")) {
    traces.push(trace(bins.get("off"), { color: css("--bad"), width: 1, dash: "dot" }, 0.5));
  }
  SCALE.forEach((shade, i) => {
    if (bins.has(i)) {
      traces.push(trace(bins.get(i), { color: shade, width: many ? 1 : 1.5 }, many ? 0.55 : 0.8));
    }
  });
  for (const row of state.selected.keys()) {
    if (kept.has(row)) {
      // An edge of ink keeps it apart from lines whose shade is like its colour.
      traces.push(trace([row], { color: css("--ink"), width: 6 }, 1));
      traces.push(trace([row], { color: colour(row), dash: dash(row), width: 3.5 }, 1));
    }
  }
  // The colour bar needs a trace of its own, and a box needs points to select among.
  traces.push({ type: "scatter", mode: "markers", x: axes.map((_, i) => i),
    y: axes.map(() => 0.5), hoverinfo: "skip", marker: { size: 1, opacity: 0,
      color: axes.map(() => low), cmin: low, cmax: high, showscale: high > low,
      colorscale: COLOURS, colorbar: { title: { text: plain(cut(inWords(data.target), 32)), side: "right" },
        thickness: 12, outlinewidth: 0 } } });
  const [shapes, annotations] = [[], []];
  axes.forEach((axis, i) => drawAxis(axis, i, shapes, annotations));
  return Plotly.react(node, traces, layout({
    margin: { l: 24, r: 24, t: 24, b: 16 }, shapes, annotations, dragmode: "select",
    selectdirection: "any", newselection: { line: { color: css("--accent") } },
    xaxis: { visible: false, range: [-0.25, axes.length - 1 + 0.55], fixedrange: true },
    yaxis: { visible: false, range: [-0.16, 1.14], fixedrange: true },
    selections: [],
  }), config).then(() => {
    if (node.dataset.brushable || node.classList.contains("offscreen")) return;
    node.dataset.brushable = "yes";
    node.on("plotly_selected", (event) => { if (event && event.range) brush(event.range); });
    watchMouse(node);
  });
}

function drawAxis({ name, place, heights }, i, shapes, annotations) {
  shapes.push({ type: "line", x0: i, x1: i, y0: 0, y1: 1, layer: "above",
    line: { color: css("--soft"), width: 1 } });
  const brushed = state.brushes.get(name);
  if (brushed) {
    for (const [y0, y1] of brushedParts(place, brushed)) {
      shapes.push({ type: "rect", x0: i - 0.07, x1: i + 0.07, y0, y1, layer: "above",
        fillcolor: css("--accent"), opacity: 0.35, line: { color: css("--accent"), width: 2 } });
    }
  }
  // No hover text: it would make the label swallow a drag that begins on it.
  const parameter = columns.get(name).group === "parameter";
  const dot = parameter ? name.lastIndexOf(".") : name.indexOf("_");
  const group = dot > 0 ? `<span style="font-size:10px">${plain(cut(name.slice(0, dot + 1), 16))}`
    + "</span><br>" : "";
  annotations.push({ x: i, y: 1.04, yanchor: "bottom", showarrow: false, font: { size: 12 },
    text: group + plain(cut(parameter ? short(name) : name.slice(dot + 1), 16)) });
  const label = (y, text) => annotations.push({ x: i, y, xanchor: "left", xshift: 3,
    text: plain(cut(text, 12)), showarrow: false, font: { size: 10.5, color: css("--ink") },
    bgcolor: css("--card"), opacity: 0.85, borderpad: 1 });
  if (place.categories) {
    const step = Math.ceil(place.categories.length / 10);
    place.categories.forEach((category, at) => {
      if (at % step === 0) label(place.share(at), category);
    });
  } else {
    const ends = place.high > place.low ? [0, 0.5, 1] : [0.5];
    for (const y of ends) label(y, String(Number(place.value(y).toPrecision(3))));
  }
  if (heights.some((height) => height === MISSING)) label(MISSING, "none");
}

// The parts of an axis that a brush covers, from 0 to 1.
function brushedParts(place, { low, high, among, none }) {
  const parts = none ? [[MISSING - 0.03, MISSING + 0.03]] : [];
  if (among) {
    for (const name of among) {
      const middle = place.share(place.names.indexOf(name));
      const half = (BAND + 0.06) / place.names.length;
      parts.push([middle - half, middle + half]);
    }
  } else if (low <= high) parts.push([Math.max(0, place.share(low)), Math.min(1, place.share(high))]);
  return parts;
}

// A box over parts of some axes: each keeps the values that the box covers there.
export function brush(range) {
  const [x0, x1] = [...range.x].sort((a, b) => a - b);
  const [y0, y1] = [...range.y].sort((a, b) => a - b);
  const names = shownAxes().filter((_, i) => i >= x0 && i <= x1);
  const before = new Map(state.brushes);
  for (const name of names) {
    const { place } = axisOf(name);
    const none = y0 <= MISSING && y1 >= MISSING;
    if (place.categories) {
      const half = BAND / place.names.length;
      state.brushes.set(name, { none, among: place.names.filter((_, i) => (
        place.share(i) + half >= y0 && place.share(i) - half <= y1)) });
    } else {
      state.brushes.set(name, { none, low: place.value(Math.max(0, y0)), high: place.value(Math.min(1, y1)) });
      if (y0 <= 0) state.brushes.get(name).low = -Infinity;
      if (y1 >= 1) state.brushes.get(name).high = Infinity;
    }
  }
  brushesChanged();
  if (names.length && trials.passing.length) return;
  state.brushes = before; // a brush that empties the page helps nobody
  brushesChanged();
  byId("brush-note").textContent = names.length ? "No line passes there: the brush is not kept."
    : "That box is between two axes: drag it over one.";
}

export function brushesChanged() {
  byId("brush-note").textContent = "";
  changed("filters");
}

export function drawBrushNote() {
  byId("clear-brush").disabled = !state.brushes.size;
  if (state.brushes.size) {
    byId("brush-note").textContent = `${trials.passing.length} of ${trials.filtered.length} trials `
      + "pass the brush.";
  }
}

// ------------------------------------------------------------------------------ the mouse

// The trial whose line passes nearest to a place, or null where none is near.
function nearest(node, event) {
  const full = node._fullLayout;
  const box = node.getBoundingClientRect();
  const [left, top] = [event.clientX - box.left - full.xaxis._offset,
    event.clientY - box.top - full.yaxis._offset];
  const x = full.xaxis.p2d(left);
  const axes = shownAxes().map(axisOf);
  const i = Math.min(axes.length - 2, Math.floor(x));
  if (x < -0.05 || x > axes.length - 0.95) return null;
  let [best, found] = [NEAR, null];
  for (const row of trials.passing) {
    const from = axes[Math.max(0, i)].heights[row];
    const to = axes[Math.max(0, i) + (axes.length > 1 ? 1 : 0)].heights[row];
    const y = full.yaxis.d2p(from + (to - from) * Math.max(0, x - Math.max(0, i)));
    if (Math.abs(y - top) < best) [best, found] = [Math.abs(y - top), row];
  }
  return found;
}

function watchMouse(node) {
  let start = null;
  node.addEventListener("pointerdown", (event) => { start = [event.clientX, event.clientY]; },
    { capture: true });
  addEventListener("pointerup", (event) => {
    const still = start && Math.hypot(event.clientX - start[0], event.clientY - start[1]) < 5;
    start = null;
    if (!still) return;
    const row = nearest(node, event);
    if (row !== null) toggle(row);
  }, { capture: true });
  node.addEventListener("mousemove", (event) => {
    point(node, event.buttons ? null : nearest(node, event), event);
  });
  node.addEventListener("mouseleave", () => point(node, null));
}

// Name a trial beside the mouse, and draw its line above all others.
function point(node, row, event) {
  const [tip, path] = [byId("parallel-tip"), byId("parallel-line")];
  tip.hidden = row === null;
  path.setAttribute("d", "");
  if (row === null) return;
  const full = node._fullLayout;
  const place = (axis, i) => `${full.xaxis._offset + full.xaxis.d2p(i)} `
    + `${full.yaxis._offset + full.yaxis.d2p(axis.heights[row])}`;
  path.setAttribute("d", `M ${shownAxes().map(axisOf).map(place).join(" L ")}`);
  tip.replaceChildren(...describe(row).split("<br>").map((line) => element("div", {},
    line.replace(/<\/?b>/g, "").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&"))));
  const box = node.getBoundingClientRect();
  const left = event.clientX - box.left;
  tip.style.left = `${Math.min(left + 14, box.width - tip.offsetWidth - 4)}px`;
  tip.style.top = `${Math.min(event.clientY - box.top + 14, box.height - tip.offsetHeight - 4)}px`;
}

// -------------------------------------------------------------------- which axes, in which order

export function drawAxisChoice() {
  const shown = shownAxes();
  const rest = possibleAxes().filter((name) => !shown.includes(name));
  const set = (axes) => {
    state.axes = axes;
    drawAxisChoice();
    changed("filters");
  };
  const move = (i, by) => {
    const axes = [...shown];
    [axes[i], axes[i + by]] = [axes[i + by], axes[i]];
    set(axes);
    const again = document.querySelector(`[data-axis="${CSS.escape(axes[i + by])}"] button`);
    if (again) again.focus();
  };
  const lines = [...shown, ...rest].map((name) => {
    const i = shown.indexOf(name);
    const box = element("input", { type: "checkbox", onchange: () => {
      set(i < 0 ? [...shown, name] : shown.filter((other) => other !== name));
    } });
    box.checked = i >= 0;
    box.disabled = i >= 0 && shown.length < 2;
    const line = element("div", { "data-axis": name }, element("label", {}, box, " ", name));
    if (i >= 0) {
      line.append(element("button", { type: "button", disabled: i === 0, "aria-label": `Move ${name} left`,
        onclick: () => move(i, -1) }, "◀"),
      element("button", { type: "button", disabled: i === shown.length - 1,
        "aria-label": `Move ${name} right`, onclick: () => move(i, 1) }, "▶"));
    }
    return line;
  });
  document.querySelector("#axes > div").replaceChildren(...lines);
}
