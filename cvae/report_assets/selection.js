// The selected trials: each entry of the table has a slot, which gives its colour and its dash.
import { element } from "./elements.js";
import { entryOf } from "./entries.js";
import { changed, state } from "./state.js";

const PALETTE = ["#2f7fd1", "#e0702e", "#2a9d74", "#c7588f", "#b8911a", "#8a6fd6", "#3aa7b8",
  "#d1495b", "#7a8f2a", "#9a7255"];
const DASHES = ["solid", "dash", "dot", "dashdot"];

export function colour(row) {
  return PALETTE[state.selected.get(row) % PALETTE.length];
}

export function dash(row) {
  return DASHES[Math.floor(state.selected.get(row) / PALETTE.length) % DASHES.length];
}

export function select(row) {
  const { rows } = entryOf(row);
  if (!state.selected.has(row)) {
    const used = new Set(state.selected.values());
    let slot = 0;
    while (used.has(slot)) slot += 1;
    for (const one of rows) state.selected.set(one, slot);
  }
  state.current = row;
}

function unselect(row) {
  const { rows } = entryOf(row);
  for (const one of rows) state.selected.delete(one);
  if (rows.includes(state.current)) {
    const left = [...state.selected.keys()];
    state.current = left.length ? left[left.length - 1] : null;
  }
}

export function toggle(row) {
  if (state.selected.has(row)) unselect(row);
  else select(row);
  changed("selection");
}

// After runs were put together or apart: the entries of what was selected.
export function selectAgain() {
  const rows = [...state.selected.keys()];
  const { current } = state;
  state.selected.clear();
  for (const row of rows) select(row);
  state.current = current;
}

// The selected entries of the table, in the order of their selection.
export function selectedEntries() {
  return [...new Set([...state.selected.keys()].map(entryOf))];
}

export function swatch(row) {
  const dot = element("span", { class: "swatch" });
  dot.style.background = colour(row);
  return dot;
}
