// The view as the fragment of the page's address, so that it can be sent and kept as a bookmark.
import { columns, data } from "./data.js";
import { duringChoices } from "./during.js";
import { hasGroups } from "./entries.js";
import { PAIR_KINDS, pairChoices } from "./pair.js";
import { select } from "./selection.js";
import { state } from "./state.js";

const initial = { sort: { ...state.sort }, x: state.x, shown: [...state.shown] };
const rowOf = new Map(data.labels.map((label, row) => [label, row]));

function isSame(a, b) {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

function viewAsFragment() {
  const words = new URLSearchParams();
  if (state.sort.name !== initial.sort.name || state.sort.ascending !== initial.sort.ascending) {
    words.set("sort", (state.sort.ascending ? "" : "-") + state.sort.name);
  }
  for (const [name, text] of state.filters) words.set(`filter.${name}`, text);
  if (state.search) words.set("search", state.search);
  if (state.statuses.size !== data.statuses.length) words.set("status", [...state.statuses].join(","));
  const shown = data.columns.map((c) => c.name).filter((name) => state.shown.has(name));
  if (!isSame(shown, initial.shown)) words.set("columns", shown.join(","));
  if (state.grouped) words.set("group", "seeds");
  for (const [name, brush] of state.brushes) {
    words.set(`brush.${name}`, JSON.stringify({ ...brush, low: asText(brush.low), high: asText(brush.high) }));
  }
  if (state.axes) words.set("axes", state.axes.join(","));
  if (state.x !== initial.x) words.set("x", state.x);
  if (!isSame(state.pair, initial.pair)) words.set("pair", state.pair.join(","));
  if (state.pairKind !== initial.pairKind) words.set("pair-colour", state.pairKind);
  if (state.during !== initial.during) words.set("during", state.during);
  const chosen = [...state.selected.keys()];
  if (!isSame(chosen, initial.chosen)) {
    for (const row of chosen) words.append("select", data.labels[row]);
    if (!chosen.length) words.set("select", "");
  }
  if (state.current !== null && state.current !== initial.current) {
    words.set("trial", data.labels[state.current]);
  }
  return words.toString();
}

function isOneOf(choices, name) {
  return choices.some(([choice]) => choice === name);
}

// JSON has no word for infinity.
function asText(bound) {
  return bound === undefined || Number.isFinite(bound) ? bound : String(bound);
}

// What the page shows when nothing has been chosen yet.
export function rememberStart() {
  initial.chosen = [...state.selected.keys()];
  initial.current = state.current;
  initial.pair = [...state.pair];
  initial.pairKind = state.pairKind;
  initial.during = state.during;
}

// Take the view from a fragment; what it names and the page has not is left out.
export function takeView(fragment) {
  const words = new URLSearchParams(fragment);
  const list = (name) => (words.get(name) || "").split(",").filter((word) => word);
  const sort = words.get("sort") || "";
  const name = sort.replace(/^-/, "");
  if (columns.has(name) || name === "trial") state.sort = { name, ascending: !sort.startsWith("-") };
  if (words.has("status")) {
    state.statuses = new Set(list("status").filter((one) => data.statuses.includes(one)));
  }
  if (words.has("columns")) state.shown = new Set(list("columns").filter((one) => columns.has(one)));
  state.search = words.get("search") || "";
  state.grouped = words.get("group") === "seeds" && hasGroups();
  if (data.curves.x.includes(words.get("x"))) state.x = words.get("x");
  const pair = list("pair").filter((one) => pairChoices().includes(one));
  if (pair.length === 2) state.pair = pair;
  if (isOneOf(PAIR_KINDS, words.get("pair-colour"))) state.pairKind = words.get("pair-colour");
  if (isOneOf(duringChoices(), words.get("during"))) state.during = words.get("during");
  if (words.has("axes")) {
    const axes = list("axes").filter((one) => columns.has(one));
    if (axes.length) state.axes = axes;
  }
  for (const [key, value] of words) {
    const [kind, column] = [key.slice(0, key.indexOf(".")), key.slice(key.indexOf(".") + 1)];
    if (!columns.has(column)) continue;
    if (kind === "filter") {
      state.filters.set(column, value);
      state.shown.add(column);
    }
    if (kind === "brush") takeBrush(column, value);
  }
  if (words.has("select")) {
    state.selected.clear();
    state.current = null;
    for (const label of words.getAll("select")) if (rowOf.has(label)) select(rowOf.get(label));
  }
  if (rowOf.has(words.get("trial"))) state.current = rowOf.get(words.get("trial"));
}

function takeBrush(column, text) {
  try {
    const { low, high, among, none } = JSON.parse(text);
    state.brushes.set(column, Array.isArray(among) ? { among: among.map(String), none: Boolean(none) }
      : { low: Number(low), high: Number(high), none: Boolean(none) });
  } catch {
    // Somebody has cut the address: the rest of it still counts.
  }
}

let waiting = null;

// The address follows the view; a moment late, for a filter is typed letter by letter.
export function keepAddress() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const fragment = viewAsFragment();
    history.replaceState(null, "", fragment ? `#${fragment}` : location.pathname + location.search);
  }, 150);
}
