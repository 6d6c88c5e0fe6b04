// What the user has chosen, and who wants to know when it changes.
import { columns, data } from "./data.js";

export const state = {
  sort: { name: data.target, ascending: columns.get(data.target).lower },
  filters: new Map(),
  search: "",
  statuses: new Set(data.statuses),
  shown: new Set(data.columns.filter((c) => c.shown).map((c) => c.name)),
  selected: new Map(), // row -> slot; the slot gives the colour and the dash
  current: null,
  page: 0,
  x: data.curves.x[0],
  brushes: [], // each keeps the rows that pass it
  everyPanel: false,
};

export const trials = {
  passing: [], // those that pass all filters and brushes, in the table's order
  filtered: [], // those that pass the filters, whatever the brushes say
};

const listeners = { filters: [], selection: [] };

export function whenChanged(what, listener) {
  listeners[what].push(listener);
}

export function changed(what) {
  for (const listener of listeners[what]) listener();
}
