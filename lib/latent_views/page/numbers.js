// Vectors and matrices, as plain arrays of numbers. Sums are in double precision, weights in single.

/** y = x W + b, with W of x.length rows, one after another. */
function linear(x, weight, bias) {
  const n = bias ? bias.length : weight.length / x.length;
  const y = new Float64Array(bias ?? n);
  let i = 0,
    at = 0;
  for (; i + 3 < x.length; i += 4, at += 4 * n) {
    // four rows at a time: y is read and written a quarter as often
    const a = x[i],
      b = x[i + 1],
      c = x[i + 2],
      d = x[i + 3];
    for (let j = 0; j < n; j++) {
      y[j] += a * weight[at + j] + b * weight[at + n + j] + c * weight[at + 2 * n + j] + d * weight[at + 3 * n + j];
    }
  }
  for (; i < x.length; i++, at += n) for (let j = 0; j < n; j++) y[j] += x[i] * weight[at + j];
  return y;
}

function layerNorm(x, weight, bias, epsilon = 1e-5) {
  let mean = 0,
    variance = 0;
  for (let i = 0; i < x.length; i++) mean += x[i] / x.length;
  for (let i = 0; i < x.length; i++) variance += ((x[i] - mean) * (x[i] - mean)) / x.length;
  const scale = 1 / Math.sqrt(variance + epsilon),
    y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
  return y;
}

/** GPT-2's own GELU, and the exact one of the writers. */
const geluTanh = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
const gelu = (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));

/** erf by its series, erf(x) = 2/√π e^(-x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!; beyond 6 it is 1 to the last digit. */
function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x,
    sum = x;
  for (let n = 1; Math.abs(term) > 1e-17; n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

function softmax(logits) {
  let top = -Infinity,
    total = 0;
  for (let i = 0; i < logits.length; i++) if (logits[i] > top) top = logits[i];
  const shares = new Float64Array(logits.length);
  for (let i = 0; i < shares.length; i++) total += shares[i] = Math.exp(logits[i] - top);
  for (let i = 0; i < shares.length; i++) shares[i] /= total;
  return shares;
}

function add(a, b) {
  const y = new Float64Array(a);
  for (let i = 0; i < y.length; i++) y[i] += b[i];
  return y;
}
/** Of `size` numbers from a place on. */
function dot(a, b, from, size) {
  let sum = 0;
  for (let i = from; i < from + size; i++) sum += a[i] * b[i];
  return sum;
}

const times = (a, factor) => a.map((v) => v * factor);
const lengthOf = (a) => Math.hypot(...a);
const average = (rows) => times(rows.reduce(add), 1 / rows.length);

/** Indices of the k largest, largest first; of equals the first. */
const best = (values, k) =>
  Array.from(values.keys())
    .sort((a, b) => values[b] - values[a] || a - b)
    .slice(0, k);
const argmax = (values) => values.indexOf(values.reduce((a, b) => Math.max(a, b)));
