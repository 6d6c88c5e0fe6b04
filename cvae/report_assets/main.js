// The page: fills in what is said once, and ties controls, table and figures together.
import { clipboardButton } from "./clipboard.js";
import { drawDifferences } from "./configurations.js";
import { drawChips, drawCurve, overSeeds } from "./curves.js";
import { count, data, inWords, plural, target } from "./data.js";
import { drawDuring, duringChoices } from "./during.js";
import { byId, element, hint } from "./elements.js";
import { hasGroups } from "./entries.js";
import { addPanel, allDirty, dirty, drawForPrinting, drawPanel, leaveTouchToThePage, panels, pictureOf } from "./figures.js";
import { applyFilters } from "./filters.js";
import { bestSoFar, drawHistory } from "./history.js";
import { drawImportance } from "./importance.js";
import { oneStop } from "./keyboard.js";
import { showLatentMaps } from "./latent.js";
import { PAIR_KINDS, drawPair, pairChoices, ranks } from "./pair.js";
import { brush, brushesChanged, drawAxisChoice, drawBrushNote, drawParallel } from "./parallel.js";
import { drawPareto } from "./pareto.js";
import { select, selectAgain } from "./selection.js";
import { buildParameters } from "./slices.js";
import { changed, state, trials, whenChanged } from "./state.js";
import { drawBody, drawColumnChoice, drawHead, drawStatuses, scrollToHiddenColumns, showHiddenColumns, summary, tableAsCsv } from "./table.js";
import { drawTimeline, hasTimes } from "./timeline.js";
import { drawTrial } from "./trial.js";
import { keepAddress, rememberStart, takeView } from "./view.js";

const OF_TRIALS = ["history", "pareto", "parameters", "pair", "parallel", "during", "timeline"];

function filtersChanged() {
  state.page = 0;
  applyFilters();
  drawBody();
  drawBrushNote();
  dirty(...OF_TRIALS);
}

function selectionChanged() {
  drawBody();
  drawChips();
  drawTrial();
  drawDifferences();
  dirty("curves", ...OF_TRIALS);
}

function choose(id, choices, value, changedTo) {
  const box = byId(id);
  for (const [name, label] of choices) box.append(element("option", { value: name }, label));
  box.value = value;
  box.addEventListener("change", () => changedTo(box.value));
}

function save(name, content) {
  const address = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// Sections that would show nothing go, and their links with them.
function leaveOut(...ids) {
  for (const id of ids) {
    byId(id).hidden = true;
    document.querySelector(`nav a[href="#${id}"]`).remove();
  }
}

function sayWhatItIs() {
  byId("title").textContent = data.title;
  byId("summary").textContent = summary();
  if (data.notes.length) {
    const notes = byId("notes");
    notes.hidden = false;
    notes.querySelector("summary").textContent =
      `${plural(data.notes.length, "note")} on what is left out`;
    for (const note of data.notes) notes.querySelector("ul").append(element("li", {}, note));
  }
  for (const node of document.querySelectorAll(".target")) node.textContent = data.targetLabel;
}

function tieTable() {
  byId("search").value = state.search;
  byId("search").addEventListener("input", () => {
    state.search = byId("search").value.trim();
    changed("filters");
  });
  byId("select-top").hidden = count < 4;
  byId("select-top").addEventListener("click", () => {
    for (const entry of trials.entries.slice(0, 10).reverse()) select(entry.rows[0]);
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
    state.brushes.clear();
    drawStatuses();
    drawHead();
    brushesChanged();
  });
  byId("save-csv").addEventListener("click", () => save("trials.csv", tableAsCsv()));
  byId("more-columns").addEventListener("click", scrollToHiddenColumns);
  byId("table-box").addEventListener("scroll", showHiddenColumns, { passive: true });
  addEventListener("resize", showHiddenColumns);
  byId("previous").addEventListener("click", () => { state.page -= 1; drawBody(); });
  byId("next").addEventListener("click", () => { state.page += 1; drawBody(); });
  byId("copy-link").replaceWith(clipboardButton("Copy link to this view",
    () => location.href, byId("title")));
  if (hasGroups()) {
    byId("grouped").checked = state.grouped;
    byId("grouped").addEventListener("change", () => {
      state.grouped = byId("grouped").checked;
      selectAgain();
      filtersChanged();
      changed("selection");
    });
  } else byId("grouped").parentElement.remove();
}

function addFigures() {
  for (const panel of data.curves.panels) {
    const node = element("div", { class: "plot", "data-curve": panel.column });
    byId("curve-panels").append(element("div", {}, node));
    addPanel("curves", node, (at) => drawCurve(at, panel), inWords(panel.column));
  }
  const measured = target.filter((value) => value !== null).length;
  if (!data.curves.panels.length) leaveOut("curves");
  if (data.latent.length) showLatentMaps();
  else leaveOut("latent");
  if (measured < 2) leaveOut("history");
  else addPanel("history", byId("history-plot"), drawHistory, "History of the search");
  if (data.front.length && count > 1) {
    addPanel("pareto", byId("pareto-plot"), drawPareto, "Pareto front");
  } else leaveOut("pareto");
  if (data.importance.some((entry) => entry.importance !== null)) {
    addPanel("importance", byId("importance-plot"), drawImportance, "Parameter importance");
  } else if (count > 1 && data.varied.length && measured) {
    byId("importance-plot").replaceWith(
      hint("Too few complete trials, or no parameter varies among them: nothing to rank."));
  } else leaveOut("importance");
  if (measured > 1 && data.varied.length) {
    buildParameters();
    addPanel("parallel", byId("parallel-plot"), drawParallel, "Parallel coordinates");
    drawAxisChoice();
  } else leaveOut("parameters", "parallel");
  const pairs = pairChoices();
  if (measured > 1 && pairs.length > 1) {
    const named = pairs.map((name) => [name, name]);
    ["pair-x", "pair-y"].forEach((id, i) => choose(id, named, state.pair[i], (name) => {
      state.pair[i] = name;
      dirty("pair");
      changed("view");
    }));
    choose("pair-kind", PAIR_KINDS, state.pairKind, (kind) => {
      state.pairKind = kind;
      dirty("pair");
      changed("view");
    });
    addPanel("pair", byId("pair-plot"), drawPair, "Two parameters");
  } else leaveOut("pair");
  const during = duringChoices();
  if (during.length && measured > 1) {
    choose("during-what", during, state.during, (name) => {
      state.during = name;
      dirty("during");
      changed("view");
    });
    addPanel("during", byId("during-plot"), drawDuring, "All trials during training");
  } else leaveOut("during");
  if (count > 1 && hasTimes()) addPanel("timeline", byId("timeline-plot"), drawTimeline, "Timeline");
  else leaveOut("timeline");
  if (count === 1 || Object.keys(data.configurations.runs).length < 2) leaveOut("configurations");
}

function tieKeyboard() {
  oneStop(document.querySelector("nav"), "a");
  oneStop(byId("statuses"), "button");
  oneStop(document.querySelector("#table thead"), "button");
  for (const link of document.querySelectorAll("nav a, .skip")) {
    link.addEventListener("click", (event) => {
      // The fragment of the address is the view's: a link only moves there.
      event.preventDefault();
      const to = document.querySelector(link.getAttribute("href"));
      to.scrollIntoView();
      to.setAttribute("tabindex", "-1");
      to.focus({ preventScroll: true });
    });
  }
}

function start() {
  whenChanged("filters", filtersChanged);
  whenChanged("selection", selectionChanged);
  for (const row of [...data.best].reverse()) select(row);
  state.pair = pairChoices().slice(0, 2);
  [[state.during]] = [...duringChoices(), [null]];
  rememberStart();
  takeView(location.hash.slice(1));
  sayWhatItIs();
  tieTable();
  if (data.curves.panels.length) {
    choose("x-axis", data.curves.x.map((name) => [name, name]), state.x, (name) => {
      state.x = name;
      dirty("curves");
      changed("view");
    });
  }
  byId("clear-brush").addEventListener("click", () => {
    state.brushes.clear();
    brushesChanged();
  });
  addFigures();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", allDirty);
  leaveTouchToThePage();
  drawForPrinting();
  applyFilters();
  drawStatuses();
  drawColumnChoice();
  drawHead();
  drawBrushNote();
  changed("selection");
  tieKeyboard();
  whenChanged("view", keepAddress);
  addEventListener("hashchange", () => location.reload()); // an address pasted into the open page
}

start();
// For tests and the browser's console: draw what is waiting, whether near the window or not.
window.report = {
  state,
  trials,
  panels,
  settle: () => Promise.all(panels.filter((panel) => panel.stale).map(drawPanel)),
  picture: (name, format) => pictureOf(panels.find((panel) => panel.name === name), format),
  csv: tableAsCsv,
  brush,
  bestSoFar,
  overSeeds,
  ranks,
};
