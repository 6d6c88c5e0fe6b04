// The whole configuration of a run, and what differs between those of several.
import { data } from "./data.js";
import { byId, element } from "./elements.js";
import { colour } from "./selection.js";
import { state } from "./state.js";
import { cut } from "./text.js";

const MOST_COMPARED = 12;
const { common, runs: differing, unresolved } = data.configurations;

function settingOf(row, key) {
  return key in differing[row] ? differing[row][key] : common[key];
}

// Every setting of a run, closed at first.
export function settings(row) {
  if (!(row in differing)) {
    return element("p", { class: "hint" }, "The configuration of this trial is not known.");
  }
  const list = element("div", { class: "values" });
  for (const key of Object.keys(common)) {
    const text = settingOf(row, key);
    if (text === null) continue;
    list.append(element("div", {}, element("span", {}, key), element("span", {}, cut(text, 60))));
  }
  const title = unresolved.includes(row)
    ? "Configuration, as it was before the run began" : "Configuration, versions and commit";
  return element("details", { id: "settings" }, element("summary", {}, title), list);
}

export function drawDifferences() {
  const rows = [...state.selected.keys()].filter((row) => row in differing).slice(0, MOST_COMPARED);
  const box = byId("differences");
  if (rows.length < 2) {
    box.replaceChildren(element("p", { class: "hint" },
      "Select two trials or more to see where their configurations differ."));
    return;
  }
  const keys = Object.keys(common)
    .filter((key) => rows.some((row) => settingOf(row, key) !== settingOf(rows[0], key)));
  if (!keys.length) {
    box.replaceChildren(element("p", { class: "hint" },
      `The configurations of these ${rows.length} trials are the same, versions and commit included.`));
    return;
  }
  const head = element("tr", {}, element("th", { scope: "col" }, "key"));
  for (const row of rows) {
    const name = element("th", { scope: "col" }, cut(data.labels[row], 24));
    name.style.borderBottom = `3px solid ${colour(row)}`;
    head.append(name);
  }
  const body = element("tbody", {});
  for (const key of keys) {
    const line = element("tr", {}, element("th", { scope: "row" }, key));
    for (const row of rows) {
      const text = settingOf(row, key);
      line.append(element("td", text === null ? { class: "none" } : {},
        text === null ? "–" : cut(text, 40)));
    }
    body.append(line);
  }
  const left = state.selected.size - rows.length;
  box.replaceChildren(
    element("p", { class: "hint" }, `${keys.length} of ${Object.keys(common).length} settings differ`
      + `${left ? `; ${left} selected trials are left out` : ""}.`),
    element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), body)));
}
