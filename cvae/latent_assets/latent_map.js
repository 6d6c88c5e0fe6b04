// The map: what each place decodes to, as numbers of paradigms, and how it is drawn.

const data = JSON.parse(document.getElementById("data").textContent);
const plot = document.getElementById("plot");
const flat = data.height === 1; // z has one unit: a line
const places = new Uint32Array(
  Uint8Array.from(atob(data.places), (letter) => letter.charCodeAt(0)).buffer);
const view = { colouring: data.colouring, only: null, rows: true, borders: true,
  x: [0, 1], y: [0, 1], found: null, line: null, at: null };

function placeAt(x, y) {
  const column = Math.min(data.width - 1, Math.max(0, Math.floor(x * data.width)));
  const row = flat ? 0 : Math.min(data.height - 1, Math.max(0, Math.floor(y * data.height)));
  return places[row * data.width + column];
}

function isRow(number) {
  return number < data.rowCount;
}

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A colour thinned with the paper: of what is no training row.
function paler(colour, share = 0.3) {
  const parts = (text) => [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16));
  const paper = parts(style("--card"));
  const mixed = parts(colour).map((part, n) => Math.round(share * part + (1 - share) * paper[n]));
  return `rgb(${mixed.join(",")})`;
}

function colouring() {
  return data.colourings[view.colouring];
}

function categoryOf(number) {
  return colouring().categories[number];
}

function colourOf(number) {
  const colour = colouring().colours[categoryOf(number)];
  return isRow(number) ? colour : paler(colour);
}

function kindOf(number) {
  const row = isRow(number) ? "training row" : "no training row";
  return `${row}; ${colouring().title}: ${colouring().labels[categoryOf(number)]}`;
}

function describe(number) {
  return `<b>${data.forms[number].join(" · ")}</b><br>${kindOf(number)}`;
}

const hoverTexts = [];

function heatmap() {
  const { colours } = colouring();
  const count = colours.length;
  const values = [];
  for (let row = 0; row < data.height; row += 1) {
    const line = new Array(data.width);
    for (let column = 0; column < data.width; column += 1) {
      const number = places[row * data.width + column];
      line[column] = categoryOf(number) + (isRow(number) ? 0 : count);
    }
    values.push(line);
  }
  const shades = [...colours, ...colours.map((colour) => paler(colour))].map((shade, index) =>
    view.only === null || index % count === view.only
      ? shade : paler(colours[index % count], index < count ? 0.12 : 0.05));
  const scale = shades.flatMap((shade, index) =>
    [[index / shades.length, shade], [(index + 1) / shades.length, shade]]);
  return {
    type: "heatmap", z: values, zmin: -0.5, zmax: 2 * count - 0.5, colorscale: scale,
    showscale: false, x0: 0.5 / data.width, dx: 1 / data.width,
    y0: 0.5 / data.height, dy: 1 / data.height, zsmooth: false,
    text: hoverTexts, hovertemplate: "%{text}<extra></extra>", name: "places",
  };
}

// Borders between places of different paradigms, in the part that is seen; none where they would
// lie so close that they hide the colours.
function borders() {
  const [x, y] = [[], []];
  const pixels = plot.clientWidth / ((view.x[1] - view.x[0]) * data.width);
  if (view.borders && pixels * data.typicalWidth > 12) {
    const seen = ([low, high], size) => [
      Math.max(0, Math.floor(Math.min(low, high) * size)),
      Math.min(size, Math.ceil(Math.max(low, high) * size))];
    const [left, right] = seen(view.x, data.width);
    const [bottom, top] = flat ? [0, 1] : seen(view.y, data.height);
    for (let row = bottom; row < top; row += 1) {
      for (let column = left; column < right; column += 1) {
        const here = row * data.width + column;
        if (column + 1 < data.width && places[here] !== places[here + 1]) {
          const at = (column + 1) / data.width;
          x.push(at, at, null);
          y.push(row / data.height, (row + 1) / data.height, null);
        }
        if (row + 1 < data.height && places[here] !== places[here + data.width]) {
          const at = (row + 1) / data.height;
          x.push(column / data.width, (column + 1) / data.width, null);
          y.push(at, at, null);
        }
      }
    }
  }
  return { type: "scatter", mode: "lines", x, y, name: "borders", hoverinfo: "skip",
    line: { color: style("--card"), width: 1 } };
}

// On a line, points are staggered so that near ones can be told apart.
function height(y, number) {
  return flat ? 0.1 + 0.8 * (number % 9) / 8 : y;
}

function posteriorMeans() {
  const shown = view.rows ? data.rows : [];
  const wide = (view.x[1] - view.x[0]) > 0.6 && data.rowCount > 300;
  const size = !wide ? 6 : plot.clientWidth > 500 ? 3 : 1.5;
  return { type: "scatter", mode: "markers", name: "posterior means", hoverinfo: "skip",
    x: shown.map((at) => at[0]), y: shown.map((at, row) => height(at[1], row)),
    marker: { size, color: style("--ink"), opacity: wide ? 0.7 : 0.9,
      line: { width: wide ? 0 : 1, color: style("--card") } } };
}

// The verbs of regions that are large enough for one, as far as there is room.
function labels() {
  const trace = { type: "scatter", mode: "text", name: "verbs", hoverinfo: "skip", x: [], y: [],
    text: [], textfont: { size: 12, color: style("--ink"), shadow: "auto" } };
  const [wide, high] = [view.x[1] - view.x[0], view.y[1] - view.y[0]];
  const taken = [];
  for (const [number, x, y, depth] of data.regions) {
    const across = (x - view.x[0]) / wide * plot.clientWidth;
    const up = (height(y, trace.x.length) - view.y[0]) / high * plot.clientHeight;
    const whole = data.forms[number][0] || "(empty)";
    const text = whole.length > 16 ? `${whole.slice(0, 13)}...` : whole;
    const half = 4 * text.length + 4;
    const room = 2 * depth / wide * plot.clientWidth;
    if (across < half || across > plot.clientWidth - half - 60 || up < 8) continue;
    if (up > plot.clientHeight - 8 || room < (flat ? 9 : 24)) continue;
    if (taken.some(([a, u, h]) => Math.abs(a - across) < h + half && Math.abs(u - up) < 16)) {
      continue;
    }
    taken.push([across, up, half]);
    trace.x.push(x);
    trace.y.push(height(y, trace.y.length));
    trace.text.push(isRow(number) ? text : `<i>${text}</i>`);
  }
  return trace;
}

function foundVerb() {
  const trace = { type: "scatter", mode: "markers+lines", name: "found", hoverinfo: "skip",
    x: [], y: [], line: { color: style("--ink"), width: 1.5, dash: "dot" },
    marker: { size: [], symbol: [], color: style("--ink"),
      line: { color: style("--card"), width: 1.5 } } };
  if (view.found === null) return trace;
  const mean = data.rows[view.found], home = homeOf(view.found);
  trace.x = [home[0], mean[0]];
  trace.y = flat ? [0.5, height(0, view.found)] : [home[1], mean[1]];
  trace.marker.symbol = ["star", "circle"];
  trace.marker.size = [16, 9];
  return trace;
}

function walked() {
  const { line, at } = view;
  const points = line ? line.points : [];
  const marks = line ? [line.points[0], line.points[line.points.length - 1], at] : [];
  const up = (point) => (flat ? 0.5 : point[1]);
  return [
    { type: "scatter", mode: "lines", name: "line", hoverinfo: "skip",
      x: points.map((point) => point[0]), y: points.map(up),
      line: { color: style("--card"), width: 6 } },
    { type: "scatter", mode: "lines", name: "line", hoverinfo: "skip",
      x: points.map((point) => point[0]), y: points.map(up),
      line: { color: style("--ink"), width: 2.5 } },
    { type: "scatter", mode: "markers", name: "step", hoverinfo: "skip",
      x: marks.map((point) => point[0]), y: marks.map(up),
      marker: { size: [9, 9, 17], color: [style("--ink"), style("--ink"), style("--accent")],
        line: { color: style("--card"), width: 2 } } },
  ];
}

// Where a row's verb is decoded: the middle of its region, or its posterior mean without one.
function homeOf(row) {
  return data.homes[row] || data.rows[row];
}

function axis(name, range) {
  const few = plot.clientWidth < 500;
  const text = few ? name.replace(" (", "<br>(") : `${name}, spaced by prior quantile`;
  return { range, ...zTicks(...range, few), tickangle: 0, zeroline: false,
    showgrid: false, tickfont: { size: 12 }, linecolor: style("--line"),
    title: { text, font: { size: 13 }, standoff: 8 } };
}

const touch = window.matchMedia("(pointer: coarse)").matches;

function draw() {
  const paper = style("--card");
  const layout = {
    margin: { l: flat ? 16 : 64, r: 12, t: 30, b: 58 }, paper_bgcolor: paper, plot_bgcolor: paper,
    font: { color: style("--ink"), family: getComputedStyle(document.body).fontFamily },
    showlegend: false, hovermode: "closest", hoverdistance: 4,
    dragmode: touch ? false : "zoom", // a swipe scrolls the page
    hoverlabel: { bgcolor: paper, bordercolor: style("--line"),
      font: { color: style("--ink"), size: 13 }, align: "left" },
    xaxis: axis(data.axes[0], view.x),
    yaxis: flat ? { range: [0, 1], visible: false, fixedrange: true }
      : axis(data.axes[1], view.y),
  };
  const config = { responsive: true, displaylogo: false, doubleClick: false,
    displayModeBar: true, scrollZoom: false,
    modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "toImage"]],
    toImageButtonOptions: { filename: "latent", scale: 2 } };
  const traces = [heatmap(), borders(), posteriorMeans(), labels(), foundVerb(), ...walked()];
  return Plotly.react(plot, traces, layout, config);
}

function look(x, y) {
  const inside = ([low, high]) => {
    const span = Math.min(1, Math.abs(high - low));
    const start = Math.min(Math.max(0, Math.min(low, high)), 1 - span);
    return [start, start + span];
  };
  view.x = inside(x);
  view.y = flat ? [0, 1] : inside(y);
  return draw();
}

// Move so that a point is seen, as large as the verbs around it can be read.
function lookAt([x, y]) {
  const half = Math.min(0.5, 4 / Math.sqrt(data.rowCount) / 2);
  const wide = flat ? Math.min(0.5, 15 / data.rowCount) : half;
  return look([x - wide, x + wide], [y - half, y + half]);
}

function startMap() {
  for (let row = 0; row < data.height; row += 1) hoverTexts.push(new Array(data.width));
  describeAll();
  return draw().then(() => {
    plot.on("plotly_relayout", (change) => {
      const given = (name, former) => [
        change[`${name}.range[0]`] ?? former[0], change[`${name}.range[1]`] ?? former[1]];
      if (Object.keys(change).some((key) => key.includes("axis.range["))) {
        look(given("xaxis", view.x), given("yaxis", view.y));
      }
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  });
}

function describeAll() {
  const texts = data.forms.map((_, number) => describe(number));
  for (let index = 0; index < places.length; index += 1) {
    hoverTexts[Math.floor(index / data.width)][index % data.width] = texts[places[index]];
  }
}
