// The selected trials: each has a slot, which gives its colour and its dash.
import { element } from "./elements.js";
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
  if (!state.selected.has(row)) {
    const used = new Set(state.selected.values());
    let slot = 0;
    while (used.has(slot)) slot += 1;
    state.selected.set(row, slot);
  }
  state.current = row;
}

function unselect(row) {
  state.selected.delete(row);
  if (state.current === row) {
    const left = [...state.selected.keys()];
    state.current = left.length ? left[left.length - 1] : null;
  }
}

export function toggle(row) {
  if (state.selected.has(row)) unselect(row);
  else select(row);
  changed("selection");
}

export function swatch(row) {
  const dot = element("span", { class: "swatch" });
  dot.style.background = colour(row);
  return dot;
}
