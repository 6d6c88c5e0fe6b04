// A trial's conversions with wrong letters marked, its accuracy by tense pair, its paradigms.
import { data, status } from "./data.js";
import { element } from "./elements.js";

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

function sign(good) {
  return element("span", { class: good ? "yes" : "no", role: "img",
    "aria-label": good ? "right" : "wrong" }, good ? "✓" : "✗");
}

function inTable(names, lines) {
  const head = element("tr", {});
  for (const name of names) head.append(element("th", { scope: "col" }, name));
  const body = element("tbody", {});
  body.append(...lines);
  return element("div", { class: "scroll" },
    element("table", {}, element("thead", {}, head), body));
}

const spoken = (tense) => tense.replace(/_/g, " ");

export function conversions(row) {
  const box = element("div", { id: "conversions" }, element("h3", {}, "Conversions"));
  const found = data.conversions[row];
  if (!found) {
    box.append(absent(row, "conversions"));
    return box;
  }
  for (const [dev, title] of [[0, "The report's ten"], [1, "Dev verbs"]]) {
    const some = found.rows.filter((entry) => entry[0] === dev);
    let text = title;
    if (dev) {
      text = found.dev ? `Dev verbs: ${found.wrong} of ${found.dev} wrong` : "";
      if (found.wrong > some.length) {
        text += `; ${some.length} of them, spread over verbs, tenses and regularity`;
      }
    }
    if (!text) continue;
    box.append(element("p", { class: "hint" }, text));
    if (!some.length) continue;
    const lines = some.map(([, source, from, to, wanted, good, letters, regular]) => (
      element("tr", {}, element("td", {}, sign(good)),
        element("td", {}, element("span", { class: "word" }, source)),
        element("td", {}, `${spoken(from)} → ${spoken(to)}`),
        element("td", {}, element("span", { class: "word" }, wanted)),
        element("td", {}, marked(letters)),
        element("td", { class: "kind" }, regular ? "" : "irregular"))));
    box.append(inTable(["", "source", "tense", "target", "prediction", ""], lines));
  }
  if (found.accuracy.length) box.append(accuracy(found));
  return box;
}

// The share of right conversions by source and target tense, regular and irregular.
function accuracy(found) {
  const box = element("div", { id: "accuracy" });
  for (const regular of [1, 0]) {
    const cells = found.accuracy.filter((cell) => cell[2] === regular);
    if (!cells.length) continue;
    const lines = data.tenses.map((from, i) => {
      const line = element("tr", {}, element("th", { scope: "row" }, spoken(from)));
      data.tenses.forEach((_, j) => {
        const cell = cells.find((one) => one[0] === i && one[1] === j);
        if (!cell) line.append(element("td", { class: "none number" }, "–"));
        else {
          const share = cell[3] / cell[4];
          const shown = element("td", { class: "number shade", title: `${cell[3]} of ${cell[4]}` },
            share.toFixed(2));
          shown.style.setProperty("--share", share.toFixed(3));
          line.append(shown);
        }
      });
      return line;
    });
    box.append(element("p", { class: "hint" }, `Exact match of ${regular ? "regular" : "irregular"} `
      + "dev verbs, from the tense at the left to the tense above:"));
    box.append(inTable(["", ...data.tenses.map(spoken)], lines));
  }
  const lines = [element("tr", {}, element("th", { scope: "row" }, "exact match"),
    ...found.lengths.map(([, right, n]) => element("td", { class: "number", title: `${right} of ${n}` },
      (right / n).toFixed(2))))];
  box.append(element("p", { class: "hint" }, "The same by the number of letters of the source:"));
  box.append(inTable(["", ...found.lengths.map(([length]) => String(length))], lines));
  return box;
}

export function samples(row) {
  const box = element("div", { id: "samples" },
    element("h3", {}, "Sampled paradigms"));
  const found = data.samples[row];
  if (!found) {
    box.append(absent(row, "samples"));
    return box;
  }
  box.append(element("p", { class: "hint" }, `Of ${found.count} draws kept, ${found.training} `
    + `are training rows and ${found.real} real verbs; the first ${found.rows.length}:`));
  const lines = found.rows.map(([, ...rest]) => {
    const line = element("tr", {});
    for (const form of rest.slice(0, 4)) {
      line.append(element("td", {}, element("span", { class: "word" }, form)));
    }
    for (const known of rest.slice(4)) {
      line.append(element("td", {}, known ? sign(true) : element("span", { class: "none" }, "–")));
    }
    return line;
  });
  box.append(inTable([...data.tenses.map(spoken), "trained", "real"], lines));
  return box;
}
