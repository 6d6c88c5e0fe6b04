// The current trial: what it was, how to repeat it, what it measured.
import { clipboardButton } from "./clipboard.js";
import { settings } from "./configurations.js";
import { conversions, samples } from "./conversions.js";
import { columns, data, inWords, status } from "./data.js";
import { byId, element } from "./elements.js";
import { showIn } from "./numbers.js";
import { state } from "./state.js";
import { cut, show } from "./text.js";

export function drawTrial() {
  const body = byId("trial-body");
  const row = state.current;
  byId("trial-heading").textContent = row === null ? "Selected trial"
    : `Selected trial: ${data.labels[row]}`;
  if (row === null) {
    body.replaceChildren(element("p", { class: "hint" }, "Select a trial in the table."));
    return;
  }
  const value = (name) => (columns.has(name) ? columns.get(name).values[row] : null);
  const facts = element("dl", { class: "facts" });
  const fact = (name, content) => {
    if (content === null || content === "") return;
    facts.append(element("dt", {}, name), element("dd", {}, content));
  };
  fact("status", element("span", { class: `status ${status[row]}` }, status[row]));
  fact("reason", value("reason"));
  fact("directory", element("code", {}, value("run") || ""));
  fact("started", value("started_at"));
  fact("seconds", value("seconds") === null ? null : show(value("seconds")));
  const command = data.commands[row] || `python -m cvae.run ${value("overrides") || ""}`.trim();
  const code = element("code", { id: "command" }, command);
  const parts = [facts, element("h3", {}, "Run it again"),
    element("div", { class: "command" }, code, clipboardButton("Copy", () => command, code))];
  const groups = [["Parameters", "parameter"], ["Final metrics", "metric"]];
  for (const [title, group] of groups) {
    const some = data.columns.filter((c) => c.group === group && c.values[row] !== null);
    if (!some.length) continue;
    const list = element("div", { class: "values" });
    for (const column of some) {
      list.append(element("div", { title: inWords(column.name) }, element("span", {}, column.name),
        element("span", {}, cut(showIn(column, column.values[row]), 60))));
    }
    parts.push(element("h3", {}, title), list);
  }
  parts.push(settings(row));
  parts.push(element("div", { class: "two" }, conversions(row), samples(row)));
  body.replaceChildren(...parts);
}
