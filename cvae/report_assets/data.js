// What the page shows, as report_data.py wrote it.

export const data = JSON.parse(document.getElementById("data").textContent);
export const count = data.labels.length;
export const columns = new Map(data.columns.map((column) => [column.name, column]));
export const target = columns.get(data.target).values;
export const status = columns.get("status").values;
