// Curves as finely as they are known: a schedule as it is, losses over a few steps, else evaluations.
import { data } from "./data.js";

// The places and values of a run's curve along an axis: step, epoch, progress or seconds.
export function finestCurve(row, column, axis) {
  const fine = data.fine[row];
  if (fine && column in fine.points && axis in fine.scale) {
    const points = fine.points[column];
    return { x: points.map(([progress]) => progress * fine.scale[axis]), y: points.map(([, value]) => value) };
  }
  const run = data.curves.runs[row];
  return { x: run[data.curves.columns.indexOf(axis)], y: run[data.curves.columns.indexOf(column)] };
}
