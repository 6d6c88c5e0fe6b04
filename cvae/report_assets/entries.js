// What a row of the table stands for: one run, or all runs of a configuration, over its seeds.
import { columns, count, data, plural, status } from "./data.js";
import { showIn, showMean } from "./numbers.js";
import { state } from "./state.js";

const runs = Array.from({ length: count }, (_, row) => (
  { rows: [row], group: null, label: data.labels[row] }));

const groups = data.groups.map((group) => {
  const best = [...group.rows].sort((a, b) => (status[b] === "complete") - (status[a] === "complete"));
  const label = group.rows.length === 1 ? data.labels[group.rows[0]]
    : `${data.labels[group.rows[0]]} + ${plural(group.rows.length - 1, "seed")}`;
  return { rows: best, group, label };
});

const groupOf = new Map();
for (const entry of groups) for (const row of entry.rows) groupOf.set(row, entry);

export function allEntries() {
  return state.grouped ? groups : runs;
}

export function entryOf(row) {
  return state.grouped ? groupOf.get(row) || runs[row] : runs[row];
}

// What is sorted and filtered by: the value, or the mean; null where the runs do not agree.
export function valueOf(entry, column) {
  if (entry.group && column.name in entry.group.measures) {
    return entry.group.measures[column.name][0];
  }
  const first = column.values[entry.rows[0]];
  return entry.rows.every((row) => column.values[row] === first) ? first : null;
}

export function textOf(entry, column) {
  if (!entry.group) return showIn(column, column.values[entry.rows[0]]);
  if (column.name in entry.group.measures) {
    const [mean, std, n] = entry.group.measures[column.name];
    if (mean === null || mean === undefined) return "–";
    return n > 1 ? `${showMean(column, mean)} ± ${showMean(column, std)}` : showMean(column, mean);
  }
  const several = [...new Set(entry.rows.map((row) => column.values[row]))];
  if (several.length === 1 && (column.name !== "status" || entry.rows.length === 1)) {
    return showIn(column, several[0]);
  }
  if (column.name === "status") {
    return several.map((name) => `${entry.rows.filter((row) => status[row] === name).length} ${name}`)
      .join(", ");
  }
  if (column.name === "seed" || several.length <= 4) {
    return several.sort((a, b) => a - b).map((value) => showIn(column, value)).join(", ");
  }
  return `${several.length} values`;
}

// What the text leaves out.
export function titleOf(entry, column) {
  if (entry.group && column.name in entry.group.measures) {
    const [mean, , n, low, high] = entry.group.measures[column.name];
    if (mean === null || mean === undefined) return "no complete run has a value";
    const interval = low === null || low === undefined ? ""
      : `; 95 % interval of the mean ${showMean(column, low)} to ${showMean(column, high)}`;
    return `mean ± standard deviation of ${plural(n, "complete run")}${interval}`;
  }
  const value = textOf(entry, column);
  return value.length > 30 ? value : "";
}

export function hasGroups() {
  return groups.length > 0;
}

export function isOff(entry) {
  return entry.rows.every((row) => columns.get("status").values[row] !== "complete");
}
