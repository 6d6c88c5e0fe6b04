// What the user has chosen, and who wants to know when it changes.
import { columns, data } from "./data.js";

export const state = {
  sort: { name: data.target, ascending: columns.get(data.target).lower },
  filters: new Map(), // column -> text
  search: "",
  statuses: new Set(data.statuses),
  shown: new Set(data.columns.filter((c) => c.shown).map((c) => c.name)),
  grouped: false, // one row for each configuration, its seeds together
  selected: new Map(), // row -> slot; the slot gives the colour and the dash
  current: null,
  page: 0,
  x: data.curves.x[0],
  during: null, // what the figure of all trials during training shows
  pair: [], // the two parameters of the figure of two, across and up
  pairKind: "rank", // what its colour shows: the rank, or a contour
  axes: null, // of parallel coordinates, in order; null: as they come
  brushes: new Map(), // column -> the part of its axis that lines must pass
  everyPanel: false,
};

export const trials = {
  entries: [], // the table's rows that pass everything, in its order
  passing: [], // the runs in them that pass all filters and brushes
  filtered: [], // the runs that pass the filters, whatever the brushes say
};

const listeners = { filters: [], selection: [], view: [] };

export function whenChanged(what, listener) {
  listeners[what].push(listener);
}

export function changed(what) {
  for (const listener of listeners[what]) listener();
  if (what !== "view") changed("view");
}
