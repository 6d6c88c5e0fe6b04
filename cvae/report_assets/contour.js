// The objective over the plane of two numeric parameters, smoothed over the trials near each place.

const PLACES = 64; // along each side
const FEWEST = 4; // trials without which a surface says nothing
const REACH = 2; // bandwidths from the nearest trial, beyond which nothing is drawn

// Why there is no surface over these rows, or null.
export function whyNoSurface(across, up, rows) {
  if (across.categories || up.categories) return "A contour needs two numeric parameters, not choices.";
  if (!(across.high > across.low && up.high > up.low)) return "A contour needs two parameters that vary.";
  if (rows.length < FEWEST) return `A contour needs ${FEWEST} complete trials with both parameters.`;
  return null;
}

// Nadaraya-Watson estimate with a Gaussian kernel, on the parameters' own scales; the bandwidth is
// Scott's for evenly spread trials. As cvae.figures.contour has it.
export function surface(across, up, rows, value) {
  const bandwidth = rows.length ** (-1 / 6) / Math.sqrt(12);
  const points = rows.map((row) => [across.share(across.of(row)), up.share(up.of(row)), value(row)]);
  const shares = Array.from({ length: PLACES }, (_, i) => i / (PLACES - 1));
  const z = shares.map((v) => shares.map((u) => {
    let [nearest, weights, sum] = [Infinity, 0, 0];
    for (const [x, y, at] of points) {
      const distance = ((x - u) ** 2 + (y - v) ** 2) / bandwidth ** 2;
      const weight = Math.exp(-distance / 2);
      nearest = Math.min(nearest, distance);
      weights += weight;
      sum += weight * at;
    }
    return nearest <= REACH ** 2 ? sum / weights : null;
  }));
  return { x: shares.map(across.value), y: shares.map(up.value), z };
}
