// Figures: when they are drawn, the layout they share, and how a finger or a printer meets them.
import { element } from "./elements.js";
import { plain } from "./text.js";

export const panels = []; // { group, node, draw, name, stale, visible }
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const panel = panels.find((candidate) => candidate.node === entry.target);
    if (panel) panel.visible = entry.isIntersecting;
  }
  schedule();
}, { rootMargin: "300px" });
let scheduled = false;

export const config = { displaylogo: false, responsive: true, displayModeBar: false };

// A figure is drawn when it comes near the window, and again when what it shows changed. Its name
// says to a screen reader what it is, and to the disk when it is saved.
export function addPanel(group, node, draw, name) {
  const panel = { group, node, draw, name, stale: true, visible: false };
  panels.push(panel);
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", name);
  const save = (format) => element("button", { type: "button", class: "save",
    "aria-label": `Save as ${format.toUpperCase()}: ${name}`, onclick: () => savePanel(panel, format) },
  format.toUpperCase());
  node.after(element("div", { class: "saves" }, save("svg"), save("png")));
  watcher.observe(node);
}

export function removePanels(group) {
  for (let i = panels.length - 1; i >= 0; i -= 1) {
    if (panels[i].group === group) {
      watcher.unobserve(panels[i].node);
      Plotly.purge(panels[i].node);
      panels.splice(i, 1);
    }
  }
}

export function dirty(...groups) {
  for (const panel of panels) if (groups.includes(panel.group)) panel.stale = true;
  schedule();
}

export function allDirty() {
  for (const panel of panels) panel.stale = true;
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

export function drawPanel(panel) {
  panel.stale = false;
  return panel.draw(panel.node);
}

export function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function layout(more) {
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

// A legend above a figure, in as many lines as it needs. It would take half of a narrow figure, where
// a tap on a point says the same.
export function legendAbove(node, margin) {
  const width = node.clientWidth;
  return { showlegend: width > 560, margin: { ...margin, t: width > 560 && width < 900 ? 84 : 36 },
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" } };
}

export function heading2(text) {
  return { text: plain(text), x: 0, xref: "paper", xanchor: "left", y: 0.97, yanchor: "top",
    font: { size: 13 } };
}

// Draw with the colours of paper, whatever the page has: what begins to be drawn in `draw` is.
function onPaper(draw) {
  document.documentElement.dataset.paper = "";
  try {
    return draw();
  } finally {
    delete document.documentElement.dataset.paper;
  }
}

async function savePanel(panel, format) {
  const address = await pictureOf(panel, format);
  const link = element("a", { href: address, download: `${fileName(panel.name)}.${format}` });
  document.body.append(link);
  link.click();
  link.remove();
}

// The address of a picture of a figure, as wide as it is on the page.
export async function pictureOf(panel, format) {
  const { width, height } = panel.node.getBoundingClientRect();
  const node = element("div", { class: "offscreen" });
  Object.assign(node.style, { width: `${width}px`, height: `${height}px` });
  document.body.append(node);
  try {
    await onPaper(() => panel.draw(node));
    await Plotly.relayout(node, { paper_bgcolor: "#ffffff",
      "font.family": "Helvetica, Arial, sans-serif" });
    const picture = await Plotly.toImage(node, { format, scale: format === "png" ? 3 : 1,
      width: Math.round(node.offsetWidth), height: Math.round(node.offsetHeight) });
    return picture;
  } finally {
    Plotly.purge(node);
    node.remove();
  }
}

function fileName(name) {
  return name.replace(/[^A-Za-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60).toLowerCase();
}

// A finger that moves over a figure scrolls the page: it neither zooms nor brushes. A tap still
// arrives, as the mouse's click that the browser makes of it.
export function leaveTouchToThePage() {
  for (const kind of ["touchstart", "touchmove", "touchend"]) {
    document.addEventListener(kind, (event) => {
      if (event.target instanceof Element && event.target.closest(".plot")) event.stopPropagation();
    }, { capture: true, passive: true });
  }
}

// Paper is narrower than most windows: every figure is drawn anew for it, also those never seen.
export function drawForPrinting() {
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.printing = "";
    onPaper(() => {
      for (const panel of panels) {
        drawPanel(panel);
        Plotly.relayout(panel.node, { autosize: true });
      }
    });
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.printing;
    for (const panel of panels) Plotly.relayout(panel.node, { autosize: true });
    allDirty();
  });
}
