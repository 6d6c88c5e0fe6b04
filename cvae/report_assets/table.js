// The table of trials with its headings, filter fields and pages.
import { columns, count, data, status } from "./data.js";
import { byId, element } from "./elements.js";
import { applyFilters, compile } from "./filters.js";
import { toggle, swatch } from "./selection.js";
import { changed, trials, state } from "./state.js";
import { cut, short, show } from "./text.js";

const PAGE = 50;

function heading(name, label, group, kind) {
  const sorted = state.sort.name === name;
  const arrow = sorted ? (state.sort.ascending ? " ▲" : " ▼") : "";
  const button = element("button", { type: "button", title: name, "data-sort": name,
    onclick: () => {
      const lower = columns.has(name) ? columns.get(name).lower : true;
      const first = kind === "number" ? lower : true;
      state.sort = { name, ascending: sorted ? !state.sort.ascending : first };
      state.page = 0;
      applyFilters();
      drawHead();
      drawBody();
      const again = document.querySelector(`[data-sort="${CSS.escape(name)}"]`);
      if (again) again.focus();
    } });
  if (group) button.append(element("span", { class: "group" }, group));
  button.append(label + arrow);
  const cell = element("th", { class: kind, scope: "col" }, button);
  if (sorted) cell.setAttribute("aria-sort", state.sort.ascending ? "ascending" : "descending");
  return cell;
}

function shownColumns() {
  return data.columns.filter((column) => state.shown.has(column.name));
}

export function drawHead() {
  const names = element("tr", {}, element("th", {}), heading("trial", "trial", "", "text"));
  const fields = element("tr", {}, element("th", {}), element("th", {}));
  for (const column of shownColumns()) {
    const dot = column.group === "parameter" ? column.name.lastIndexOf(".") : -1;
    const group = dot > 0 ? column.name.slice(0, dot + 1) : "";
    const label = dot > 0 ? column.name.slice(dot + 1)
      : column.name.startsWith("objective_") ? short(column.name) : column.name;
    names.append(heading(column.name, cut(label, 28), cut(group, 28), column.kind));
    const field = element("input", { type: "text", "data-filter": column.name,
      "aria-label": `Filter ${column.name}`, value: state.filters.get(column.name) || "",
      oninput: () => {
        const text = field.value.trim();
        field.setAttribute("aria-invalid", String(text !== "" && !compile(text, column.kind)));
        if (text) state.filters.set(column.name, text);
        else state.filters.delete(column.name);
        changed("filters");
      } });
    fields.append(element("th", { class: column.kind }, field));
  }
  document.querySelector("#table thead").replaceChildren(names, fields);
}

export function drawBody() {
  const pages = Math.max(1, Math.ceil(trials.passing.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const first = state.page * PAGE;
  const shown = shownColumns();
  const rows = trials.passing.slice(first, first + PAGE).map((row) => {
    const chosen = state.selected.has(row);
    const box = element("input", { type: "checkbox", "aria-label": `Select ${data.labels[row]}` });
    box.checked = chosen;
    const mark = element("td", {}, box);
    if (chosen) mark.append(swatch(row));
    const classes = [chosen ? "chosen" : "", status[row] === "complete" ? "" : "off"];
    const line = element("tr", { class: classes.join(" ").trim(), "data-row": row,
      onclick: () => toggle(row) }, mark,
      element("td", { title: columns.get("run").values[row] }, cut(data.labels[row], 40)));
    for (const column of shown) line.append(tableCell(column, row));
    return line;
  });
  if (!rows.length) {
    rows.push(element("tr", {}, element("td", { colspan: shown.length + 2 },
      "No trial passes the filters.")));
  }
  document.querySelector("#table tbody").replaceChildren(...rows);
  const total = trials.passing.length === count ? `${count} trials`
    : `${trials.passing.length} of ${count} trials`;
  byId("position").textContent = pages === 1 ? total
    : `${first + 1}–${Math.min(first + PAGE, trials.passing.length)} of ${total}`;
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page >= pages - 1;
  byId("clear-selection").disabled = !state.selected.size;
}

function tableCell(column, row) {
  const value = column.values[row];
  if (column.name === "status") {
    const badge = element("span", { class: `status ${value}` }, value);
    const reason = columns.get("reason").values[row];
    return element("td", { title: reason || "" }, badge);
  }
  const text = show(value);
  const cell = element("td", { class: column.kind === "number" ? "number" : "cut" }, text);
  if (value === null) cell.classList.add("none");
  else if (column.kind === "text" && text.length > 30) cell.title = text;
  return cell;
}

export function drawStatuses() {
  const buttons = data.statuses.map((name) => {
    const number = status.filter((value) => value === name).length;
    return element("button", { type: "button", class: `status-toggle status ${name}`,
      "data-status": name, "aria-pressed": String(state.statuses.has(name)),
      onclick: () => {
        if (!state.statuses.delete(name)) state.statuses.add(name);
        drawStatuses();
        changed("filters");
      } }, `${number} ${name}`);
  });
  byId("statuses").replaceChildren(...buttons);
}

export function drawColumnChoice() {
  const choices = data.columns.map((column) => {
    const box = element("input", { type: "checkbox", onchange: () => {
      if (box.checked) state.shown.add(column.name);
      else {
        state.shown.delete(column.name);
        state.filters.delete(column.name); // a filter that cannot be seen would puzzle
      }
      drawHead();
      changed("filters");
    } });
    box.checked = state.shown.has(column.name);
    return element("label", {}, box, " ", column.name);
  });
  document.querySelector("#columns > div").replaceChildren(...choices);
}
