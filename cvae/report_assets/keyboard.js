// Groups of controls that are one stop of the tab key each; the arrow keys move within.

export function oneStop(box, selector) {
  const items = () => [...box.querySelectorAll(selector)].filter((item) => !item.disabled);
  const set = (current) => {
    for (const item of items()) item.tabIndex = item === current ? 0 : -1;
  };
  const refresh = () => {
    const all = items();
    set(all.includes(document.activeElement) ? document.activeElement
      : all.find((item) => item.tabIndex === 0 && item.hasAttribute("tabindex")) || all[0]);
  };
  box.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(document.activeElement);
    if (at < 0) return;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || !all[to]) return;
    event.preventDefault();
    set(all[to]);
    all[to].focus();
  });
  new MutationObserver(refresh).observe(box, { childList: true, subtree: true });
  refresh();
}
