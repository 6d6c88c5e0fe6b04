// The page: fills in what is said once, and ties controls, table and figures together.
import { drawChips, drawCurve } from "./curves.js";
import { count, data, status } from "./data.js";
import { byId, element, hint } from "./elements.js";
import { addPanel, dirty, drawPanel, panels } from "./figures.js";
import { applyFilters } from "./filters.js";
import { drawImportance } from "./importance.js";
import { brush, brushesChanged, drawParallel } from "./parallel.js";
import { drawPareto } from "./pareto.js";
import { select } from "./selection.js";
import { buildParameters } from "./slices.js";
import { changed, trials, state, whenChanged } from "./state.js";
import { drawBody, drawColumnChoice, drawHead, drawStatuses } from "./table.js";
import { drawTrial } from "./trial.js";

function filtersChanged() {
  state.page = 0;
  applyFilters();
  drawBody();
  dirty("pareto", "parameters", "parallel");
}

function selectionChanged() {
  drawBody();
  drawChips();
  drawTrial();
  dirty("curves", "pareto", "parameters", "parallel");
}

function start() {
  whenChanged("filters", filtersChanged);
  whenChanged("selection", selectionChanged);
  byId("title").textContent = data.title;
  const counts = data.statuses
    .map((name) => `${status.filter((value) => value === name).length} ${name}`);
  byId("summary").textContent = `${count} trials: ${counts.join(", ")}. Made ${data.made}.`;
  if (data.notes.length) {
    const notes = byId("notes");
    notes.hidden = false;
    notes.querySelector("summary").textContent =
      `${data.notes.length} note${data.notes.length === 1 ? "" : "s"} on what is left out`;
    for (const note of data.notes) notes.querySelector("ul").append(element("li", {}, note));
  }
  for (const node of document.querySelectorAll(".target")) node.textContent = data.targetLabel;
  for (const name of data.curves.x) byId("x-axis").append(element("option", {}, name));
  byId("x-axis").addEventListener("change", () => {
    state.x = byId("x-axis").value;
    dirty("curves");
  });
  byId("search").addEventListener("input", () => {
    state.search = byId("search").value.trim();
    changed("filters");
  });
  byId("select-top").addEventListener("click", () => {
    for (const row of trials.passing.slice(0, 10).reverse()) select(row);
    changed("selection");
  });
  byId("clear-selection").addEventListener("click", () => {
    state.selected.clear();
    state.current = null;
    changed("selection");
  });
  byId("clear-filters").addEventListener("click", () => {
    state.filters.clear();
    state.statuses = new Set(data.statuses);
    state.search = "";
    byId("search").value = "";
    state.brushes = [];
    drawStatuses();
    drawHead();
    brushesChanged();
  });
  byId("clear-brush").addEventListener("click", () => {
    state.brushes = [];
    brushesChanged();
  });
  byId("previous").addEventListener("click", () => { state.page -= 1; drawBody(); });
  byId("next").addEventListener("click", () => { state.page += 1; drawBody(); });
  for (const panel of data.curves.panels) {
    const node = element("div", { class: "plot", "data-curve": panel.column });
    byId("curve-panels").append(node);
    addPanel("curves", node, (at) => drawCurve(at, panel));
  }
  if (data.front.length) addPanel("pareto", byId("pareto-plot"), drawPareto);
  else byId("pareto-plot").replaceWith(hint("No complete trial has both scores."));
  if (data.importance.some((entry) => entry.importance !== null)) {
    addPanel("importance", byId("importance-plot"), drawImportance);
  } else {
    byId("importance-plot").replaceWith(
      hint("Too few complete trials, or no parameter varies among them: nothing to rank."));
  }
  buildParameters();
  addPanel("parallel", byId("parallel-plot"), drawParallel);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    dirty("curves", "pareto", "importance", "parameters", "parallel");
  });
  for (const row of [...data.best].reverse()) select(row);
  applyFilters();
  drawStatuses();
  drawColumnChoice();
  drawHead();
  changed("selection");
}

start();
// For tests and the browser's console: draw what is waiting, whether near the window or not.
window.report = {
  state,
  settle: () => Promise.all(panels.filter((panel) => panel.stale).map(drawPanel)),
  brush,
};
