// Figures: when they are drawn, and the layout they share.
import { plain } from "./text.js";

export const panels = []; // { group, node, draw, stale, visible }
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const panel = panels.find((candidate) => candidate.node === entry.target);
    if (panel) panel.visible = entry.isIntersecting;
  }
  schedule();
}, { rootMargin: "300px" });
let scheduled = false;

// A figure is drawn when it comes near the window, and again when what it shows changed.
export function addPanel(group, node, draw) {
  panels.push({ group, node, draw, stale: true, visible: false });
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

export const config = { displaylogo: false, responsive: true, displayModeBar: false };

export function heading2(text) {
  return { text: plain(text), x: 0, xref: "paper", xanchor: "left", y: 0.97, yanchor: "top",
    font: { size: 13 } };
}
