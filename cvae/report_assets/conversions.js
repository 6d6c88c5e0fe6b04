// A trial's conversions with wrong letters marked, and its sampled paradigms.
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

function tick(good) {
  return element("span", { class: good ? "yes" : "no" }, good ? "✓" : "✗");
}

export function conversions(row) {
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
