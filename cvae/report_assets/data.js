// What the page shows, as report_page.py wrote it.

export const data = JSON.parse(document.getElementById("data").textContent);
export const count = data.labels.length;
export const columns = new Map(data.columns.map((column) => [column.name, column]));
export const target = columns.get(data.target).values;
export const status = columns.get("status").values;

// A column in words, the same wherever it is named; a key of the configuration is its own name.
export function inWords(name) {
  return data.names[name] || name;
}

export function plural(number, one, several) {
  return `${number} ${number === 1 ? one : several || `${one}s`}`;
}
