// The normal distribution function and its inverse: between a coordinate of z and its quantile.

// Abramowitz and Stegun 26.2.17; the error is below 1e-7.
function quantileOf(z) {
  const t = 1 / (1 + 0.2316419 * Math.abs(z));
  const series = t * (0.31938153 + t * (-0.356563782
    + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const tail = Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI) * series;
  return z > 0 ? 1 - tail : tail;
}

// By halving: forty steps are exact to 1e-11, and a page asks for few.
function zOf(quantile) {
  let low = -8, high = 8;
  for (let step = 0; step < 40; step += 1) {
    const middle = (low + high) / 2;
    if (quantileOf(middle) < quantile) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

// Round values of z between two quantiles, some six of them, or fewer where there is little room.
function zTicks(low, high, few) {
  const limited = (q) => Math.min(0.9999, Math.max(0.0001, q));
  let values = few ? [-2, -1, 0, 1, 2] : [-2, -1, -0.5, 0, 0.5, 1, 2];
  if (high - low < 0.9) {
    const [first, last] = [zOf(limited(low)), zOf(limited(high))];
    const rough = (last - first) / (few ? 4 : 6);
    const power = 10 ** Math.floor(Math.log10(rough));
    const size = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    values = [];
    for (let n = Math.ceil(first / size); n * size <= last; n += 1) {
      values.push(Number((n * size).toPrecision(6)));
    }
  }
  const inside = values.filter((z) => quantileOf(z) >= low && quantileOf(z) <= high);
  return { tickvals: inside.map(quantileOf), ticktext: inside.map(String) };
}
