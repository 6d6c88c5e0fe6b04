// What stands beside the map: a place's forms, a verb found, and a walk between two verbs.

const byId = (id) => document.getElementById(id);
const rowOf = new Map();
data.forms.slice(0, data.rowCount).forEach((forms, row) => {
  if (!rowOf.has(forms[0])) rowOf.set(forms[0], row);
});

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  Object.assign(node, attributes);
  node.append(...children);
  return node;
}

function swatch(number) {
  const node = element("span", { className: "swatch" });
  node.style.background = colourOf(number);
  return node;
}

function showHere(number) {
  here = number;
  if (number !== null) showForms(byId("here-forms"), number);
}

function showForms(target, number) {
  const list = element("dl", { className: "forms" });
  data.forms[number].forEach((form, tense) => {
    list.append(element("dt", {}, data.tenses[tense]),
      element("dd", { className: "word" }, form || "(empty)"));
  });
  target.replaceChildren(list, element("p", {}, swatch(number), ` ${kindOf(number)}`));
}

// ---------------------------------------------------------------------------------- a verb found

function find(text) {
  const verb = text.trim().toLowerCase();
  const row = rowOf.get(verb);
  view.found = row ?? null;
  byId("find-note").textContent = "";
  if (verb && row === undefined) byId("find-note").textContent = "no training verb";
  if (row === undefined) return draw();
  const placed = data.homes[row] ? "star: its region" : "it has no region on this map";
  byId("find-note").textContent = `${placed}; dot: its posterior mean`
    + ` (± ${data.spread[row].map((sd) => sd.toPrecision(2)).join(", ")})`;
  showHere(row);
  return lookAt(homeOf(row));
}

// ------------------------------------------------------------------------------------- the walk

const ends = { from: null, to: null };
let here = null; // the paradigm whose forms are shown
let next = "from"; // the end that a click sets
const STEPS = 400;

function endOf(text) {
  const row = rowOf.get(text.trim().toLowerCase());
  return row === undefined ? null : { name: data.forms[row][0], at: homeOf(row) };
}

function setLine() {
  view.line = null;
  view.at = null;
  const { from, to } = ends;
  if (from && to) {
    const start = from.at.map(zOf), end = to.at.map(zOf);
    const points = [];
    for (let step = 0; step <= STEPS; step += 1) {
      const share = step / STEPS;
      points.push(start.map((z, axis) => quantileOf((1 - share) * z + share * end[axis])));
    }
    view.line = { points, numbers: points.map(([x, y]) => placeAt(x, y)) };
    view.at = points[0];
  }
  byId("walked").hidden = !view.line;
  const named = [from, to].map((end) => end?.name || "VERB").join(" ");
  byId("command").textContent = `${data.command} ${named}`;
  byId("step").value = 0;
  listMet();
  showStep();
}

function listMet() {
  const list = byId("met");
  list.replaceChildren();
  if (!view.line) return;
  view.line.numbers.forEach((number, step) => {
    if (step > 0 && number === view.line.numbers[step - 1]) return;
    const name = element("span", { className: isRow(number) ? "word" : "word invented" },
      data.forms[number][0] || "(empty)");
    const button = element("button", { type: "button", title: data.forms[number].join(" · ") },
      element("span", { className: "share" }, `${Math.round(100 * step / STEPS)} %`),
      swatch(number), name);
    button.dataset.step = step;
    button.addEventListener("click", () => {
      byId("step").value = 100 * step / STEPS;
      showStep(step);
    });
    list.append(element("li", {}, button));
  });
}

function showStep(exact) {
  const step = exact ?? Math.round(Number(byId("step").value) / 100 * STEPS);
  if (!view.line) {
    byId("step-forms").replaceChildren();
    return draw();
  }
  view.at = view.line.points[step];
  showForms(byId("step-forms"), view.line.numbers[step]);
  let current = null;
  for (const button of document.querySelectorAll("#met button")) {
    button.removeAttribute("aria-current");
    if (Number(button.dataset.step) <= step) current = button;
  }
  current?.setAttribute("aria-current", "true");
  // The list alone scrolls: the page stays under the finger.
  const list = byId("met");
  if (current) list.scrollTop = current.offsetTop - list.offsetTop - list.clientHeight / 2;
  const count = plot.data.length;
  const up = flat ? 0.5 : view.at[1];
  const last = plot.data[count - 1];
  if (last.x.length < 3) return draw();
  last.x[2] = view.at[0];
  last.y[2] = up;
  return Plotly.restyle(plot, { x: [last.x], y: [last.y] }, [count - 1]);
}

function typed(which) {
  const field = byId(which);
  ends[which] = endOf(field.value);
  const unknown = field.value.trim() && !ends[which];
  byId("walk-note").textContent = unknown ? `${field.value.trim()} is no training verb.` : "";
  setLine();
}

function clicked(x, y) {
  const number = placeAt(x, y);
  ends[next] = { name: data.forms[number][0], at: flat ? [x] : [x, y] };
  byId(next).value = ends[next].name;
  next = next === "from" ? "to" : "from";
  byId("walk-note").textContent = next === "to" ? "The next click sets the end." : "";
  showHere(number);
  setLine();
}

// -------------------------------------------------------------------------------------- controls

function drawLegend() {
  const present = new Set([...new Set(places)].map(categoryOf));
  const buttons = colouring().labels.flatMap((label, category) => {
    if (!present.has(category)) return [];
    const dot = element("span", { className: "swatch" });
    dot.style.background = colouring().colours[category];
    const button = element("button", { type: "button" }, dot, label);
    button.setAttribute("aria-pressed", String(view.only === category));
    button.addEventListener("click", () => {
      view.only = view.only === category ? null : category;
      drawLegend();
      draw();
    });
    return [button];
  });
  byId("legend").replaceChildren(...buttons,
    element("span", { className: "key" }, "faint: no training row"));
}

function start() {
  document.title = data.title;
  byId("title").textContent = data.title;
  byId("summary").textContent = data.summary;
  byId("about").textContent = data.about;
  byId("warning").textContent = data.warning || "";
  byId("warning").hidden = !data.warning;
  byId("zoom-out").textContent = flat ? "Whole line" : "Whole plane";
  for (const [key, { title }] of Object.entries(data.colourings)) {
    byId("colouring").append(element("option", { value: key, selected: key === view.colouring },
      title));
  }
  byId("verbs").append(...[...rowOf.keys()].sort().map((verb) => element("option", {
    value: verb })));
  byId("colouring").addEventListener("change", (event) => {
    view.colouring = event.target.value;
    view.only = null;
    describeAll();
    drawLegend();
    showHere(here);
    listMet();
    showStep();
    draw();
  });
  byId("show-rows").addEventListener("change", (event) => {
    view.rows = event.target.checked;
    draw();
  });
  byId("show-borders").addEventListener("change", (event) => {
    view.borders = event.target.checked;
    draw();
  });
  byId("zoom-out").addEventListener("click", () => look([0, 1], [0, 1]));
  byId("find").addEventListener("change", (event) => find(event.target.value));
  byId("from").addEventListener("change", () => typed("from"));
  byId("to").addEventListener("change", () => typed("to"));
  byId("swap").addEventListener("click", () => {
    [ends.from, ends.to] = [ends.to, ends.from];
    [byId("from").value, byId("to").value] = [byId("to").value, byId("from").value];
    setLine();
  });
  byId("step").addEventListener("input", () => showStep());
  drawLegend();
  setLine();
  return startMap().then(() => {
    plot.on("plotly_hover", ({ points: [point] }) => {
      if (point?.data.type === "heatmap") {
        showHere(placeAt(point.x, point.y));
      }
    });
    plot.on("plotly_click", ({ points: [point] }) => {
      if (point?.data.type === "heatmap") clicked(point.x, point.y);
    });
    if (data.walk) {
      [ends.from, ends.to] = data.walk;
      byId("from").value = ends.from.name;
      byId("to").value = ends.to.name;
      setLine();
    }
  });
}

window.latent = { ready: start() };
