"use strict";
// Everything from a run directory reaches the document through textContent, and plotly, which
// understands a little HTML in its texts, through plain(): it is never parsed as markup.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const count = data.labels.length;
  const columns = new Map(data.columns.map((column) => [column.name, column]));
  const byId = (id) => document.getElementById(id);
  const target = columns.get(data.target).values;
  const status = columns.get("status").values;
  const PAGE = 50;
  const MOST_CURVES = 40;
  const MOST_PANELS = 24;
  const MOST_AXES = 12;
  const PALETTE = ["#2f7fd1", "#e0702e", "#2a9d74", "#c7588f", "#b8911a", "#8a6fd6", "#3aa7b8",
    "#d1495b", "#7a8f2a", "#9a7255"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const SCALE = ["#46327e", "#3f4a8a", "#365c8d", "#2e6f8e", "#277f8e", "#1fa187", "#35b779",
    "#5ec962", "#8fd744", "#c8d92b"];
  const SYMBOLS = { complete: "circle", pruned: "triangle-down-open", diverged: "x-thin-open",
    failed: "cross-thin-open", interrupted: "square-open", unreadable: "diamond-open" };

  const state = {
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
  let passing = []; // rows that pass all filters and brushes, in the table's order
  let filtered = []; // rows that pass the filters, whatever the brushes say

  // ------------------------------------------------------------------------------- elements

  function element(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "class") node.className = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null) node.setAttribute(name, value);
    }
    for (const child of children) node.append(child);
    return node;
  }

  function plain(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function cut(text, length) {
    return text.length <= length ? text : text.slice(0, length - 1) + "…";
  }

  function show(value) {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return String(value);
    const size = Math.abs(value);
    if (size < 1e-3 || size >= 1e6) return value.toExponential(2).replace("e+", "e");
    if (size < 0.1) return String(Number(value.toPrecision(4)));
    return size < 10 ? value.toFixed(4) : String(Number(value.toPrecision(6)));
  }

  function short(name) {
    const renamed = { objective_bleu4: "BLEU-4", objective_gaussian_score: "Gaussian score",
      objective_gaussian_variety: "Gaussian variety" };
    if (name in renamed) return renamed[name];
    return name.slice(name.lastIndexOf(".") + 1);
  }

  // -------------------------------------------------------------------- selection, filtering

  function colour(row) {
    return PALETTE[state.selected.get(row) % PALETTE.length];
  }

  function dash(row) {
    return DASHES[Math.floor(state.selected.get(row) / PALETTE.length) % DASHES.length];
  }

  function select(row) {
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

  function toggle(row) {
    if (state.selected.has(row)) unselect(row);
    else select(row);
    selectionChanged();
  }

  // Return a test for the text of a filter field, or null where it cannot be understood.
  function compile(text, kind) {
    const range = /^(-?[\d.]+(?:e-?\d+)?)\s*\.\.\s*(-?[\d.]+(?:e-?\d+)?)$/i.exec(text);
    if (kind === "number" && range) {
      const [low, high] = [Number(range[1]), Number(range[2])];
      if (Number.isNaN(low) || Number.isNaN(high)) return null;
      return (value) => value !== null && value >= low && value <= high;
    }
    const [, operator, operand] = /^(>=|<=|!=|>|<|=)?\s*(.*)$/.exec(text);
    if (operator && operator !== "=" && operator !== "!=") {
      const bound = Number(operand);
      if (kind !== "number" || operand === "" || Number.isNaN(bound)) return null;
      const tests = {
        ">": (v) => v > bound, "<": (v) => v < bound,
        ">=": (v) => v >= bound, "<=": (v) => v <= bound,
      };
      return (value) => value !== null && tests[operator](value);
    }
    const wanted = operand.toLowerCase();
    const equal = (value) => {
      if (value === null) return wanted === "" || wanted === "–" || wanted === "-";
      if (kind === "number" && wanted !== "") return value === Number(wanted);
      return String(value).toLowerCase() === wanted;
    };
    if (operator === "=") return equal;
    if (operator === "!=") return (value) => !equal(value);
    return (value) => value !== null && show(value).toLowerCase().includes(wanted);
  }

  function applyFilters() {
    const tests = [];
    for (const [name, text] of state.filters) {
      const test = compile(text, columns.get(name).kind);
      if (test) tests.push([columns.get(name).values, test]);
    }
    const wanted = state.search.toLowerCase();
    const searched = data.columns.filter((c) => state.shown.has(c.name) || c.name === "reason");
    filtered = [];
    for (let row = 0; row < count; row += 1) {
      if (!state.statuses.has(status[row])) continue;
      if (!tests.every(([values, test]) => test(values[row]))) continue;
      if (wanted && !data.labels[row].toLowerCase().includes(wanted)
        && !searched.some((c) => show(c.values[row]).toLowerCase().includes(wanted))) continue;
      filtered.push(row);
    }
    const values = state.sort.name === "trial" ? data.labels : columns.get(state.sort.name).values;
    const sign = state.sort.ascending ? 1 : -1;
    const text = new Intl.Collator("en", { numeric: true });
    filtered.sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      // What is missing comes last whichever way the column is sorted.
      if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1;
      const order = typeof x === "number" && typeof y === "number"
        ? x - y : text.compare(String(x), String(y));
      return order ? sign * order : a - b;
    });
    passing = filtered.filter((row) => state.brushes.every((brush) => brush.has(row)));
  }

  function filtersChanged() {
    state.page = 0;
    applyFilters();
    drawBody();
    dirty("pareto", "parameters", "parallel");
  }

  function selectionChanged() {
    drawBody();
    drawChips();
    drawTrial();
    dirty("curves", "pareto", "parameters", "parallel");
  }

  // ----------------------------------------------------------------------------------- table

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

  function drawHead() {
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
          filtersChanged();
        } });
      fields.append(element("th", { class: column.kind }, field));
    }
    document.querySelector("#table thead").replaceChildren(names, fields);
  }

  function drawBody() {
    const pages = Math.max(1, Math.ceil(passing.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * PAGE;
    const shown = shownColumns();
    const rows = passing.slice(first, first + PAGE).map((row) => {
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
    const total = passing.length === count ? `${count} trials`
      : `${passing.length} of ${count} trials`;
    byId("position").textContent = pages === 1 ? total
      : `${first + 1}–${Math.min(first + PAGE, passing.length)} of ${total}`;
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page >= pages - 1;
    byId("clear-selection").disabled = !state.selected.size;
  }

  function swatch(row) {
    const dot = element("span", { class: "swatch" });
    dot.style.background = colour(row);
    return dot;
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

  function drawStatuses() {
    const buttons = data.statuses.map((name) => {
      const number = status.filter((value) => value === name).length;
      return element("button", { type: "button", class: `status-toggle status ${name}`,
        "data-status": name, "aria-pressed": String(state.statuses.has(name)),
        onclick: () => {
          if (!state.statuses.delete(name)) state.statuses.add(name);
          drawStatuses();
          filtersChanged();
        } }, `${number} ${name}`);
    });
    byId("statuses").replaceChildren(...buttons);
  }

  function drawColumnChoice() {
    const choices = data.columns.map((column) => {
      const box = element("input", { type: "checkbox", onchange: () => {
        if (box.checked) state.shown.add(column.name);
        else {
          state.shown.delete(column.name);
          state.filters.delete(column.name); // a filter that cannot be seen would puzzle
        }
        drawHead();
        filtersChanged();
      } });
      box.checked = state.shown.has(column.name);
      return element("label", {}, box, " ", column.name);
    });
    document.querySelector("#columns > div").replaceChildren(...choices);
  }

  // --------------------------------------------------------------------------------- figures

  const panels = []; // { group, node, draw, stale, visible }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const panel = panels.find((candidate) => candidate.node === entry.target);
      if (panel) panel.visible = entry.isIntersecting;
    }
    schedule();
  }, { rootMargin: "300px" });
  let scheduled = false;

  // A figure is drawn when it comes near the window, and again when what it shows changed.
  function addPanel(group, node, draw) {
    panels.push({ group, node, draw, stale: true, visible: false });
    watcher.observe(node);
  }

  function removePanels(group) {
    for (let i = panels.length - 1; i >= 0; i -= 1) {
      if (panels[i].group === group) {
        watcher.unobserve(panels[i].node);
        Plotly.purge(panels[i].node);
        panels.splice(i, 1);
      }
    }
  }

  function dirty(...groups) {
    for (const panel of panels) if (groups.includes(panel.group)) panel.stale = true;
    schedule();
  }

  function schedule() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      const panel = panels.find((candidate) => candidate.stale && candidate.visible);
      if (!panel) return;
      drawPanel(panel);
      schedule(); // one figure a frame: the page stays responsive
    });
  }

  function drawPanel(panel) {
    panel.stale = false;
    return panel.draw(panel.node);
  }

  function css(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function layout(more) {
    const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"),
      tickcolor: css("--line"), automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--ink") },
      margin: { l: 48, r: 12, t: 34, b: 40 }, hovermode: "closest",
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"),
        font: { color: css("--ink") }, align: "left" },
      ...more,
      xaxis: { ...axis, ...(more.xaxis || {}) }, yaxis: { ...axis, ...(more.yaxis || {}) },
    };
  }

  const config = { displaylogo: false, responsive: true, displayModeBar: false };

  function heading2(text) {
    return { text: plain(text), x: 0, xref: "paper", xanchor: "left", y: 0.97, yanchor: "top",
      font: { size: 13 } };
  }

  function describe(row) {
    const lines = [`<b>${plain(data.labels[row])}</b> ${plain(status[row])}`];
    for (const name of new Set([data.target, ...data.varied.slice(0, 8)])) {
      const value = columns.get(name).values[row];
      if (value !== null) lines.push(`${plain(name)} = ${plain(cut(show(value), 60))}`);
    }
    return lines.join("<br>");
  }

  function clickable(node) {
    if (node.dataset.clickable) return;
    node.dataset.clickable = "yes";
    node.on("plotly_click", (event) => {
      const row = event.points[0].customdata;
      if (typeof row === "number") toggle(row);
    });
  }

  // Traces of points: one for each status, then the selected ones on top.
  function points(rows, x, y) {
    const traces = [];
    for (const name of data.statuses) {
      const some = rows.filter((row) => status[row] === name && !state.selected.has(row));
      if (!some.length) continue;
      traces.push({ type: "scatter", mode: "markers", name, x: some.map(x), y: some.map(y),
        customdata: some, text: some.map(describe), hoverinfo: "text", cliponaxis: false,
        marker: { symbol: SYMBOLS[name] || "circle", size: name === "complete" ? 6 : 7,
          opacity: name === "complete" ? 0.6 : 0.9,
          color: name === "complete" ? css("--point")
            : name === "pruned" || name === "interrupted" ? css("--warn") : css("--bad"),
          line: { width: name === "complete" ? 0 : 1.3 } } });
    }
    const some = rows.filter((row) => state.selected.has(row));
    traces.push({ type: "scatter", mode: "markers", name: "selected", showlegend: false,
      x: some.map(x), y: some.map(y), customdata: some, text: some.map(describe), hoverinfo: "text", cliponaxis: false,
      marker: { symbol: some.map((row) => (SYMBOLS[status[row]] || "circle").replace("-open", "")),
        size: 11, color: some.map(colour), line: { width: 1.5, color: css("--ink") } } });
    return traces;
  }

  // ---------------------------------------------------------------------------------- curves

  function drawChips() {
    const chips = [...state.selected.keys()].map((row) => {
      const chip = element("span", { class: row === state.current ? "chip current" : "chip",
        "data-chip": row }, swatch(row));
      chip.append(element("button", { type: "button", title: "Show this trial below",
        onclick: () => { state.current = row; drawChips(); drawTrial(); } },
      cut(data.labels[row], 32)));
      chip.append(element("button", { type: "button", title: "Unselect",
        "aria-label": `Unselect ${data.labels[row]}`, onclick: () => toggle(row) }, "×"));
      return chip;
    });
    byId("chips").replaceChildren(...chips);
    const rows = [...state.selected.keys()];
    const without = rows.filter((row) => !(row in data.curves.runs));
    const notes = [];
    if (!rows.length) notes.push("No trial is selected: click rows of the table.");
    if (rows.length > MOST_CURVES) {
      notes.push(`Shown are the first ${MOST_CURVES} of ${rows.length} selected trials.`);
    }
    if (without.length) {
      const some = without.slice(0, 5).map((row) => cut(data.labels[row], 32)).join(", ");
      notes.push(`Never evaluated: ${some}${without.length > 5 ? ", …" : ""}.`);
    }
    byId("curves-note").textContent = notes.join(" ");
  }

  function drawCurve(node, panel) {
    const x = data.curves.columns.indexOf(state.x);
    const y = data.curves.columns.indexOf(panel.column);
    const rows = [...state.selected.keys()].filter((row) => row in data.curves.runs);
    const traces = rows.slice(0, MOST_CURVES).map((row) => {
      const run = data.curves.runs[row];
      return { type: "scatter", mode: run[y].length > 1 ? "lines" : "markers", x: run[x],
        y: run[y], name: plain(cut(data.labels[row], 32)), customdata: run[y].map(() => row),
        text: run[y].map((value, i) => `<b>${plain(data.labels[row])}</b><br>`
          + `${plain(state.x)} ${show(run[x][i])}: ${show(value)}`),
        hoverinfo: "text", line: { color: colour(row), dash: dash(row), width: 1.8 },
        marker: { color: colour(row) }, connectgaps: true };
    });
    return Plotly.react(node, traces, layout({
      title: heading2(panel.title),
      xaxis: { title: { text: plain(state.x) }, type: "linear" },
      yaxis: { type: "linear", rangemode: "tozero" },
    }), config);
  }

  // ----------------------------------------------------------------------------------- trial

  function drawTrial() {
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
    const copied = element("button", { type: "button", onclick: () => {
      const done = () => { copied.textContent = "Copied"; };
      // Pages opened from disk may not reach the clipboard: the text is selected instead.
      const fallback = () => {
        getSelection().selectAllChildren(code);
        copied.textContent = document.execCommand("copy") ? "Copied" : "Selected";
      };
      if (navigator.clipboard) navigator.clipboard.writeText(command).then(done, fallback);
      else fallback();
    } }, "Copy");
    const code = element("code", { id: "command" }, command);
    const parts = [facts, element("h3", {}, "Run it again"),
      element("div", { class: "command" }, code, copied)];
    const groups = [["Parameters", "parameter"], ["Final metrics", "metric"]];
    for (const [title, group] of groups) {
      const some = data.columns.filter((c) => c.group === group && c.values[row] !== null);
      if (!some.length) continue;
      const list = element("div", { class: "values" });
      for (const column of some) {
        list.append(element("div", {}, element("span", {}, column.name),
          element("span", {}, cut(show(column.values[row]), 60))));
      }
      parts.push(element("h3", {}, title), list);
    }
    parts.push(element("div", { class: "two" }, conversions(row), samples(row)));
    body.replaceChildren(...parts);
  }

  function absent(row, what) {
    const left = data.detailed && status[row] === "complete";
    return element("p", { class: "hint" }, left
      ? `The page holds the ${what} of the best ${data.detailed} trials only.`
      : `This trial left no ${what}.`);
  }

  function marked(letters) {
    const word = element("span", { class: "word" });
    for (const [kind, text] of letters) {
      if (kind === "=") word.append(text);
      else {
        word.append(element("span", { class: kind === "x" ? "wrong" : "missing",
          title: kind === "x" ? "wrong" : "missing" }, text));
      }
    }
    return word;
  }

  function tick(good) {
    return element("span", { class: good ? "yes" : "no" }, good ? "✓" : "✗");
  }

  function conversions(row) {
    const box = element("div", { id: "conversions" }, element("h3", {}, "Conversions"));
    const found = data.conversions[row];
    if (!found) {
      box.append(absent(row, "conversions"));
      return box;
    }
    for (const [dev, title] of [[0, "The report's ten"], [1, "Dev set"]]) {
      const some = found.rows.filter((entry) => entry[0] === dev);
      let text = title;
      if (dev) {
        text = found.dev ? `Dev set: ${found.wrong} of ${found.dev} wrong` : "";
        if (found.wrong > some.length) text += `; the first ${some.length} of them`;
      }
      if (!text) continue;
      box.append(element("p", { class: "hint" }, text));
      if (!some.length) continue;
      const body = element("tbody", {});
      for (const [, source, from, to, wanted, good, letters] of some) {
        body.append(element("tr", {}, element("td", {}, tick(good)),
          element("td", {}, element("span", { class: "word" }, source)),
          element("td", {}, `${from.replace(/_/g, " ")} → ${to.replace(/_/g, " ")}`),
          element("td", {}, element("span", { class: "word" }, wanted)),
          element("td", {}, marked(letters))));
      }
      const head = element("tr", {});
      for (const name of ["", "source", "tense", "target", "prediction"]) {
        head.append(element("th", { scope: "col" }, name));
      }
      box.append(element("div", { class: "scroll" },
        element("table", {}, element("thead", {}, head), body)));
    }
    return box;
  }

  function samples(row) {
    const box = element("div", { id: "samples" },
      element("h3", {}, "Sampled paradigms"));
    const found = data.samples[row];
    if (!found) {
      box.append(absent(row, "samples"));
      return box;
    }
    box.append(element("p", { class: "hint" }, `Of ${found.count} draws kept, ${found.training} `
      + `are training rows and ${found.real} real verbs; the first ${found.rows.length}:`));
    const head = element("tr", {});
    for (const name of [...data.tenses.map((tense) => tense.replace(/_/g, " ")), "trained",
      "real"]) head.append(element("th", { scope: "col" }, name));
    const body = element("tbody", {});
    for (const [, ...rest] of found.rows) {
      const line = element("tr", {});
      for (const form of rest.slice(0, 4)) {
        line.append(element("td", {}, element("span", { class: "word" }, form)));
      }
      for (const known of rest.slice(4)) {
        line.append(element("td", {}, known ? tick(true) : element("span", { class: "none" }, "–")));
      }
      body.append(line);
    }
    box.append(element("div", { class: "scroll" },
      element("table", {}, element("thead", {}, head), body)));
    return box;
  }

  // ---------------------------------------------------------------------------------- Pareto

  function drawPareto(node) {
    const [x, y] = data.pair.map((name) => columns.get(name).values);
    const rows = passing.filter((row) => x[row] !== null && y[row] !== null);
    const front = data.front;
    const [across, up] = data.pair.map(span);
    const traces = points(rows, (row) => clamp(x[row], across), (row) => clamp(y[row], up));
    traces.splice(traces.length - 1, 0, { type: "scatter", mode: "lines+markers", name: "Pareto front",
      x: front.map((row) => x[row]), y: front.map((row) => y[row]), customdata: front,
      text: front.map((row) => `on the front<br>${describe(row)}`), hoverinfo: "text",
      line: { shape: "hv", color: css("--accent"), width: 1.5 },
      marker: { size: 9, symbol: "diamond", color: css("--accent") } });
    return Plotly.react(node, traces, layout({
      margin: { l: 56, r: 20, t: 36, b: 48 }, showlegend: true,
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
      xaxis: { title: { text: "BLEU-4" }, type: "linear", range: axisRange(across),
        zeroline: false },
      yaxis: { title: { text: short(data.pair[1]) }, type: "linear", range: axisRange(up),
        zeroline: false },
    }), config).then(() => clickable(node));
  }

  // ------------------------------------------------------------------------------ importance

  function drawImportance(node) {
    const some = data.importance.filter((entry) => entry.importance !== null).reverse();
    node.style.height = `${Math.max(140, 30 * some.length + 70)}px`;
    const names = some.map((entry) => plain(cut(entry.parameter, 40)));
    const texts = some.map((entry) => `${plain(entry.parameter)}: ${entry.importance.toFixed(3)}`
      + `<br>noise level ${entry.noise.toFixed(3)}<br>${entry.n} trials`);
    const places = names.map((_, i) => i);
    const bars = { type: "bar", orientation: "h", y: places, x: some.map((e) => e.importance),
      text: texts, hoverinfo: "text", textposition: "none", width: 0.62,
      marker: { color: some.map((e) => (e.importance > e.noise ? css("--accent")
        : css("--faint"))) } };
    const noise = { type: "scatter", mode: "markers", y: places, x: some.map((e) => e.noise),
      text: texts, hoverinfo: "text", marker: { symbol: "line-ns-open", size: 20,
        color: css("--ink"), line: { width: 2 } } };
    return Plotly.react(node, [bars, noise], layout({
      margin: { l: 60, r: 20, t: 8, b: 44 },
      xaxis: { title: { text: "share of the rank variance explained" }, type: "linear",
        rangemode: "tozero" },
      yaxis: { type: "linear", tickmode: "array", tickvals: places, ticktext: names,
        showgrid: false, zeroline: false },
    }), config);
  }

  // ------------------------------------------------------------------------------ parameters

  // The range of a measure over complete trials. A diverged trial's score of zero would else
  // squeeze all others into a corner; it is drawn on the lower edge instead.
  function span(name) {
    const { values } = columns.get(name);
    let low = Infinity;
    let high = -Infinity;
    for (const complete of [true, false]) { // without a complete trial, of those there are
      for (let row = 0; row < count; row += 1) {
        if (values[row] === null || (complete && status[row] !== "complete")) continue;
        low = Math.min(low, values[row]);
        high = Math.max(high, values[row]);
      }
      if (low <= high) break;
    }
    if (low > high) [low, high] = [0, 1];
    const size = high - low || Math.abs(high) || 1;
    return { low, high, edge: low - 0.09 * size, top: high + 0.06 * size };
  }

  function clamp(value, { edge, top }) {
    return value === null ? edge : Math.min(top, Math.max(edge, value));
  }

  function axisRange({ low, high, edge }) {
    const pad = 0.05 * (high - edge);
    return [edge - pad, high + pad];
  }

  // Where a column's values lie on an axis: a number (or its logarithm), or a category's place.
  // A few numbers that a search chose among are categories too, in their order.
  function placing(name) {
    const column = columns.get(name);
    const present = [...new Set(column.values.filter((value) => value !== null))];
    if (column.group !== "parameter" && name !== "seed") {
      const { low, high } = span(name);
      return { log: false, low, high, categories: null, of: (row) => {
        const value = column.values[row];
        return value === null ? null : Math.min(high, Math.max(low, value));
      } };
    }
    if (column.kind === "number" && present.length > 12) {
      const low = present.reduce((a, b) => Math.min(a, b));
      const high = present.reduce((a, b) => Math.max(a, b));
      const log = low > 0 && high / low >= 50;
      return { log, low, high, categories: null, of: (row) => column.values[row] };
    }
    present.sort(column.kind === "number" ? (a, b) => a - b : undefined);
    const index = new Map(present.map((value, i) => [value, i]));
    return { log: false, low: 0, high: Math.max(1, present.length - 1),
      categories: present.map((value) => (typeof value === "number"
        ? String(Number(value.toPrecision(4))) : String(value))),
      of: (row) => (column.values[row] === null ? null : index.get(column.values[row])) };
  }

  function byImportance() {
    const ranked = data.importance.map((entry) => entry.parameter);
    return [...ranked, ...data.varied.filter((name) => !ranked.includes(name))];
  }

  function drawParameter(node, name) {
    const place = placing(name);
    const range = span(data.target);
    const rows = passing.filter((row) => place.of(row) !== null);
    const without = passing.length - rows.length;
    // Golden-ratio jitter: the same every time, and even for any number of points.
    const jitter = (row) => (place.categories ? 0.5 * (((row * 0.6180339887) % 1) - 0.5) : 0);
    const traces = points(rows, (row) => place.of(row) + jitter(row),
      (row) => clamp(target[row], range));
    const xaxis = { type: place.log ? "log" : "linear", title: { text: "" } };
    if (place.categories) {
      const some = place.categories.slice(0, 12);
      Object.assign(xaxis, { tickmode: "array", tickvals: some.map((_, i) => i),
        ticktext: some.map((category) => plain(cut(category, 14))), showgrid: false,
        range: [-0.5, place.categories.length - 0.5], zeroline: false });
    } else if (place.log) Object.assign(xaxis, { dtick: 1, exponentformat: "power" });
    const title = without ? `${name} (${without} without)` : name;
    return Plotly.react(node, traces, layout({ title: heading2(cut(title, 44)), xaxis,
      yaxis: { type: "linear", title: { text: plain(short(data.target)) },
        range: axisRange(range), zeroline: false } }), config)
      .then(() => clickable(node));
  }

  function buildParameters() {
    removePanels("parameters");
    const names = byImportance();
    const shown = state.everyPanel ? names : names.slice(0, MOST_PANELS);
    const box = byId("parameter-panels");
    box.replaceChildren();
    for (const name of shown) {
      const node = element("div", { class: "plot", "data-parameter": name });
      box.append(node);
      addPanel("parameters", node, (at) => drawParameter(at, name));
    }
    if (!names.length) box.append(element("p", { class: "hint" }, "No parameter varies."));
    if (shown.length < names.length) {
      box.append(element("button", { type: "button", onclick: () => {
        state.everyPanel = true;
        buildParameters();
      } }, `Show the other ${names.length - shown.length}`));
    }
  }

  // -------------------------------------------------------------------- parallel coordinates

  const MISSING = -0.1; // where a line passes an axis on which the trial has no value
  const axes = [...byImportance().slice(0, MOST_AXES - 3),
    ...new Set([...data.pair, data.target])]
    .filter((name) => columns.get(name).values.some((value) => value !== null))
    .map((name) => ({ name, place: placing(name) }));
  const heights = axes.map(({ place }) => {
    const scale = place.log ? Math.log : (value) => value;
    const [low, high] = [scale(place.low), scale(place.high)];
    return Array.from({ length: count }, (_, row) => {
      const value = place.of(row);
      if (value === null) return MISSING;
      return high > low ? (scale(value) - low) / (high - low) : 0.5;
    });
  });

  function drawParallel(node) {
    if (!axes.length) return null;
    node.style.minWidth = `${Math.max(500, 92 * axes.length)}px`;
    const kept = new Set(passing);
    const values = filtered.map((row) => target[row])
      .filter((value, i) => value !== null && status[filtered[i]] === "complete");
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    // One trace for each shade: a trace for each of a thousand trials would take seconds.
    const bins = new Map();
    const add = (key, row) => {
      if (!bins.has(key)) bins.set(key, []);
      bins.get(key).push(row);
    };
    for (const row of filtered) {
      if (state.selected.has(row) && kept.has(row)) continue;
      if (!kept.has(row)) add("out", row);
      else if (status[row] !== "complete" || target[row] === null) add("off", row);
      else {
        const share = high > low ? (target[row] - low) / (high - low) : 1;
        add(Math.min(SCALE.length - 1, Math.floor(share * SCALE.length)), row);
      }
    }
    const many = filtered.length > 200;
    const trace = (rows, line, opacity) => {
      const [x, y] = [[], []];
      for (const row of rows) {
        axes.forEach((_, i) => { x.push(i); y.push(heights[i][row]); });
        x.push(null);
        y.push(null);
      }
      return { type: "scatter", mode: "lines", x, y, line, opacity, hoverinfo: "skip" };
    };
    const traces = [];
    if (bins.has("out")) traces.push(trace(bins.get("out"), { color: css("--line"), width: 1 }, 0.5));
    if (bins.has("off")) {
      traces.push(trace(bins.get("off"), { color: css("--bad"), width: 1, dash: "dot" }, 0.5));
    }
    SCALE.forEach((shade, i) => {
      if (bins.has(i)) {
        traces.push(trace(bins.get(i), { color: shade, width: many ? 1 : 1.5 }, many ? 0.55 : 0.8));
      }
    });
    for (const row of state.selected.keys()) {
      if (kept.has(row)) {
        // An edge of ink keeps it apart from lines whose shade is like its colour.
        traces.push(trace([row], { color: css("--ink"), width: 6 }, 1));
        traces.push(trace([row], { color: colour(row), dash: dash(row), width: 3.5 }, 1));
      }
    }
    // The colour bar needs a trace of its own, and a box needs points to select among.
    traces.push({ type: "scatter", mode: "markers", x: axes.map((_, i) => i),
      y: axes.map(() => 0.5), hoverinfo: "skip", marker: { size: 1, opacity: 0,
        color: axes.map(() => low), cmin: low, cmax: high, showscale: high > low,
        colorscale: SCALE.map((shade, i) => [i / (SCALE.length - 1), shade]),
        colorbar: { title: { text: plain(short(data.target)), side: "right" }, thickness: 12,
          outlinewidth: 0 } } });
    const [shapes, annotations] = [[], []];
    axes.forEach(({ name, place }, i) => {
      shapes.push({ type: "line", x0: i, x1: i, y0: 0, y1: 1, layer: "above",
        line: { color: css("--soft"), width: 1 } });
      // No hover text: it would make the label swallow a drag that begins on it.
      const dot = name.startsWith("objective") ? -1 : name.lastIndexOf(".");
      const group = dot > 0 ? `<span style="font-size:10px">${plain(cut(name.slice(0, dot + 1), 16))}`
        + "</span><br>" : "";
      annotations.push({ x: i, y: 1.04, yanchor: "bottom", showarrow: false, font: { size: 12 },
        text: group + plain(cut(short(name), 16)) });
      const label = (y, text) => annotations.push({ x: i, y, xanchor: "left", xshift: 3,
        text: plain(cut(text, 12)), showarrow: false, font: { size: 10.5, color: css("--ink") },
        bgcolor: css("--card"), opacity: 0.85, borderpad: 1 });
      if (place.categories) {
        const step = Math.ceil(place.categories.length / 10);
        place.categories.forEach((category, at) => {
          if (at % step) return;
          label(place.categories.length > 1 ? at / place.high : 0, category);
        });
      } else {
        const middle = place.log ? Math.sqrt(place.low * place.high) : (place.low + place.high) / 2;
        const ends = place.high > place.low
          ? [[0, place.low], [0.5, middle], [1, place.high]] : [[0.5, place.low]];
        for (const [y, value] of ends) label(y, String(Number(value.toPrecision(3))));
      }
      if (heights[i].some((height) => height === MISSING)) label(MISSING, "none");
    });
    return Plotly.react(node, traces, layout({
      margin: { l: 24, r: 24, t: 24, b: 16 }, shapes, annotations, dragmode: "select",
      selectdirection: "any", newselection: { line: { color: css("--accent") } },
      xaxis: { visible: false, range: [-0.25, axes.length - 1 + 0.55], fixedrange: true },
      yaxis: { visible: false, range: [-0.16, 1.14], fixedrange: true },
      selections: [],
    }), config).then(() => {
      if (node.dataset.brushable) return;
      node.dataset.brushable = "yes";
      node.on("plotly_selected", (event) => { if (event && event.range) brush(event.range); });
    });
  }

  function brush(range) {
    const [x0, x1] = [...range.x].sort((a, b) => a - b);
    const [y0, y1] = [...range.y].sort((a, b) => a - b);
    const crossed = axes.map((_, i) => i).filter((i) => i >= x0 && i <= x1);
    if (!crossed.length) return; // a box between two axes says nothing
    const rows = new Set();
    for (let row = 0; row < count; row += 1) {
      if (crossed.every((i) => heights[i][row] >= y0 && heights[i][row] <= y1)) rows.add(row);
    }
    state.brushes.push(rows);
    brushesChanged();
  }

  function brushesChanged() {
    byId("clear-brush").disabled = !state.brushes.length;
    filtersChanged();
    byId("brush-note").textContent = state.brushes.length
      ? `${passing.length} of ${filtered.length} trials pass the brush.` : "";
  }

  // ----------------------------------------------------------------------------------- start

  function start() {
    byId("title").textContent = data.title;
    const counts = data.statuses
      .map((name) => `${status.filter((value) => value === name).length} ${name}`);
    byId("summary").textContent = `${count} trials: ${counts.join(", ")}. Made ${data.made}.`;
    if (data.notes.length) {
      const notes = byId("notes");
      notes.hidden = false;
      notes.querySelector("summary").textContent =
        `${data.notes.length} note${data.notes.length === 1 ? "" : "s"} on what is left out`;
      for (const note of data.notes) notes.querySelector("ul").append(element("li", {}, note));
    }
    for (const node of document.querySelectorAll(".target")) node.textContent = data.targetLabel;
    for (const name of data.curves.x) byId("x-axis").append(element("option", {}, name));
    byId("x-axis").addEventListener("change", () => {
      state.x = byId("x-axis").value;
      dirty("curves");
    });
    byId("search").addEventListener("input", () => {
      state.search = byId("search").value.trim();
      filtersChanged();
    });
    byId("select-top").addEventListener("click", () => {
      for (const row of passing.slice(0, 10).reverse()) select(row);
      selectionChanged();
    });
    byId("clear-selection").addEventListener("click", () => {
      state.selected.clear();
      state.current = null;
      selectionChanged();
    });
    byId("clear-filters").addEventListener("click", () => {
      state.filters.clear();
      state.statuses = new Set(data.statuses);
      state.search = "";
      byId("search").value = "";
      state.brushes = [];
      drawStatuses();
      drawHead();
      brushesChanged();
    });
    byId("clear-brush").addEventListener("click", () => {
      state.brushes = [];
      brushesChanged();
    });
    byId("previous").addEventListener("click", () => { state.page -= 1; drawBody(); });
    byId("next").addEventListener("click", () => { state.page += 1; drawBody(); });
    for (const panel of data.curves.panels) {
      const node = element("div", { class: "plot", "data-curve": panel.column });
      byId("curve-panels").append(node);
      addPanel("curves", node, (at) => drawCurve(at, panel));
    }
    if (data.front.length) addPanel("pareto", byId("pareto-plot"), drawPareto);
    else byId("pareto-plot").replaceWith(hint("No complete trial has both scores."));
    if (data.importance.some((entry) => entry.importance !== null)) {
      addPanel("importance", byId("importance-plot"), drawImportance);
    } else {
      byId("importance-plot").replaceWith(
        hint("Too few complete trials, or no parameter varies among them: nothing to rank."));
    }
    buildParameters();
    addPanel("parallel", byId("parallel-plot"), drawParallel);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      dirty("curves", "pareto", "importance", "parameters", "parallel");
    });
    for (const row of [...data.best].reverse()) select(row);
    applyFilters();
    drawStatuses();
    drawColumnChoice();
    drawHead();
    selectionChanged();
  }

  function hint(text) {
    return element("p", { class: "hint" }, text);
  }

  start();
  // For tests and the browser's console: draw what is waiting, whether near the window or not.
  window.report = {
    state,
    settle: () => Promise.all(panels.filter((panel) => panel.stale).map(drawPanel)),
    brush,
  };
}());
