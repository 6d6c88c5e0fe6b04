// The table of trials with its headings, filter fields and pages.
import { nameOf } from "./brushes.js";
import { columns, count, data, inWords, plural, status } from "./data.js";
import { byId, element } from "./elements.js";
import { allEntries, isOff, textOf, titleOf, valueOf } from "./entries.js";
import { applyFilters, compile, rejected } from "./filters.js";
import { swatch, toggle } from "./selection.js";
import { changed, state, trials } from "./state.js";
import { cut } from "./text.js";

const PAGE = 50;

function heading(name, label, group, kind) {
  const sorted = state.sort.name === name;
  const arrow = sorted ? (state.sort.ascending ? " ▲" : " ▼") : "";
  const button = element("button", { type: "button", title: inWords(name), "data-sort": name,
    onclick: () => {
      const lower = columns.has(name) ? columns.get(name).lower : true;
      const first = kind === "number" ? lower : true;
      state.sort = { name, ascending: sorted ? !state.sort.ascending : first };
      state.page = 0;
      applyFilters();
      drawHead();
      drawBody();
      changed("view");
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

// The part of a name that stands in small letters above the rest.
function prefixOf(name) {
  if (name.startsWith("objective_") && name !== "objective_name") return "objective_";
  return columns.get(name).group === "parameter" ? name.slice(0, name.lastIndexOf(".") + 1) : "";
}

export function drawHead() {
  const names = element("tr", {}, element("th", {}), heading("trial", "trial", "", "text"));
  const fields = element("tr", {}, element("th", {}), element("th", {}));
  for (const column of shownColumns()) {
    const group = prefixOf(column.name);
    names.append(heading(column.name, cut(column.name.slice(group.length), 28), cut(group, 28),
      column.kind));
    const field = element("input", { type: "text", "data-filter": column.name,
      "aria-label": `Filter ${column.name}`, "aria-describedby": "filter-note",
      value: state.filters.get(column.name) || "",
      oninput: () => {
        const text = field.value.trim();
        if (text) state.filters.set(column.name, text);
        else state.filters.delete(column.name);
        markField(field, column, text);
        changed("filters");
      } });
    markField(field, column, state.filters.get(column.name) || "");
    fields.append(element("th", { class: column.kind }, field));
  }
  document.querySelector("#table thead").replaceChildren(names, fields);
  drawFilterNote();
}

function markField(field, column, text) {
  const { error } = text ? compile(text, column.kind) : {};
  field.setAttribute("aria-invalid", String(Boolean(error)));
  field.title = error || "";
}

function drawFilterNote() {
  const reasons = [...rejected()].map(([name, reason]) => `${name}: ${reason}.`);
  byId("filter-note").textContent = reasons.length
    ? `Not applied: ${reasons.join(" ")}` : "";
}

export function drawBody() {
  const pages = Math.max(1, Math.ceil(trials.entries.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const first = state.page * PAGE;
  const shown = shownColumns();
  const lines = trials.entries.slice(first, first + PAGE).map((entry) => {
    const [row] = entry.rows;
    const chosen = state.selected.has(row);
    const box = element("input", { type: "checkbox", "aria-label": `Select ${entry.label}` });
    box.checked = chosen;
    const mark = element("td", {}, box);
    if (chosen) mark.append(swatch(row));
    const classes = [chosen ? "chosen" : "", isOff(entry) ? "off" : ""];
    const line = element("tr", { class: classes.join(" ").trim(), "data-row": row,
      onclick: () => toggle(row) }, mark,
      element("td", { title: columns.get("run").values[row] }, cut(entry.label, 40)));
    for (const column of shown) line.append(tableCell(column, entry));
    return line;
  });
  if (!lines.length) {
    lines.push(element("tr", {}, element("td", { colspan: shown.length + 2 },
      "No trial passes the filters.")));
  }
  const focused = document.activeElement && document.activeElement.closest("#table tbody tr");
  document.querySelector("#table tbody").replaceChildren(...lines);
  if (focused) {
    const again = document.querySelector(`tr[data-row="${focused.dataset.row}"] input`);
    if (again) again.focus({ preventScroll: true });
  }
  const all = allEntries().length;
  const what = state.grouped ? "configuration" : "trial";
  const total = trials.entries.length === all ? plural(all, what)
    : `${trials.entries.length} of ${plural(all, what)}`;
  byId("position").textContent = pages === 1 ? total
    : `${first + 1}–${Math.min(first + PAGE, trials.entries.length)} of ${total}`;
  byId("previous").hidden = byId("next").hidden = pages === 1;
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page >= pages - 1;
  byId("clear-selection").disabled = !state.selected.size;
  drawFilterNote();
  drawBrushes();
  showHiddenColumns();
}

function tableCell(column, entry) {
  const text = textOf(entry, column);
  if (column.name === "status" && entry.rows.length === 1) {
    const reason = columns.get("reason").values[entry.rows[0]];
    const cell = element("td", { class: "cut", title: reason || "" },
      element("span", { class: `status ${text}` }, text));
    if (reason) cell.append(" ", element("span", { class: "reason" }, reason));
    return cell;
  }
  const cell = element("td", { class: column.kind === "number" ? "number" : "cut" }, text);
  if (text === "–") cell.classList.add("none");
  const title = titleOf(entry, column);
  if (title) cell.title = title;
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
        document.querySelector(`[data-status="${name}"]`).focus();
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
    return element("label", { title: inWords(column.name) }, box, " ", column.name);
  });
  document.querySelector("#columns > div").replaceChildren(...choices);
}

// A brush is drawn far below the table: here it is named, and can be taken away.
function drawBrushes() {
  const chips = [...state.brushes].map(([name, brush]) => element("button", { type: "button",
    class: "brush", "data-brush": name, "aria-label": `Remove the brush on ${nameOf(name, brush)}`,
    onclick: () => {
      state.brushes.delete(name);
      changed("filters");
    } }, `brush ${cut(nameOf(name, brush), 48)} ×`));
  byId("brushes").replaceChildren(...chips);
}

// On a narrow window most columns lie beyond the edge, and nothing else would say so.
export function showHiddenColumns() {
  const box = byId("table-box");
  const right = box.getBoundingClientRect().left + box.clientWidth;
  const cells = [...document.querySelectorAll("#table thead tr:first-child th")];
  const hidden = cells.filter((cell) => cell.getBoundingClientRect().right > right + 2).length;
  byId("more-columns").hidden = !hidden;
  byId("more-columns").textContent = `${plural(hidden, "more column")} →`;
  byId("table-frame").classList.toggle("more", hidden > 0);
}

export function scrollToHiddenColumns() {
  const box = byId("table-box");
  box.scrollBy({ left: box.clientWidth * 0.7, behavior: "smooth" });
}

// The table as filtered and sorted, its values as they were read.
export function tableAsCsv() {
  const quote = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  const shown = shownColumns();
  const measured = (column) => state.grouped && data.groups.some((g) => column.name in g.measures);
  const head = shown.flatMap((column) => (measured(column)
    ? ["mean", "std", "n", "low", "high"].map((end) => `${column.name}_${end}`) : [column.name]));
  const lines = trials.entries.map((entry) => [entry.label, ...shown.flatMap((column) => {
    if (measured(column)) {
      return entry.group.measures[column.name] || [valueOf(entry, column), null, 1, null, null];
    }
    return [entry.group ? textOf(entry, column) : column.values[entry.rows[0]]];
  })]);
  return [["trial", ...head], ...lines].map((line) => line.map(quote).join(",")).join("\n") + "\n";
}

export function summary() {
  const counts = data.statuses
    .map((name) => `${status.filter((value) => value === name).length} ${name}`);
  return `${plural(count, "trial")}: ${counts.join(", ")}. Made ${data.made}.`;
}
