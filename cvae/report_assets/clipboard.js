// A button that copies a text.
import { element } from "./elements.js";

// `shown` is what the page shows of the text: it is selected where the clipboard is out of reach.
export function clipboardButton(label, text, shown) {
  const button = element("button", { type: "button", onclick: () => {
    const done = () => { button.textContent = "Copied"; };
    // Pages opened from disk may not reach the clipboard: the text is selected instead.
    const fallback = () => {
      getSelection().selectAllChildren(shown);
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    };
    if (navigator.clipboard) navigator.clipboard.writeText(text()).then(done, fallback);
    else fallback();
  } }, label);
  return button;
}
