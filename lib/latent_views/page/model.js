// A GPT-2 that reads one input at a time and keeps keys and values; and who writes its thoughts.

/** Named matrices out of base64: shapes say where each begins. */
function unpack(base64, shapes) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const all = new Float32Array(bytes.buffer);
  return Object.fromEntries(Object.entries(shapes).map(([name, [start, n]]) => [name, all.subarray(start, start + n)]));
}

class Model {
  constructor(data) {
    Object.assign(this, data);
    this.w = unpack(data.weights, data.shapes);
    this.tokenizer = new Tokenizer(data.vocabulary);
    this.write = WRITERS[data.writer](this);
    this.others = new Map();
    if (this.probes) this.probes = { ...this.probes, w: unpack(this.probes.weights, this.probes.shapes) };
    this.stops = STOPS[data.writer]?.(this) ?? (() => false);
  }

  embed(id) {
    return this.w.embed.subarray(id * this.width, (id + 1) * this.width);
  }

  /** What the LM head makes of a state: its words may be fewer than the tokenizer's, edges are read only. */
  logits(state) {
    const { embed } = this.w,
      out = new Float64Array(this.headWords);
    for (let v = 0, at = 0; v < out.length; v++) for (let i = 0; i < state.length; i++) out[v] += state[i] * embed[at++];
    return out;
  }

  finalNorm(state) {
    return layerNorm(state, this.w["ln_f.weight"], this.w["ln_f.bias"]);
  }

  /** Read one input embedding after `context`, which stays usable. Levels are as the LM head would read them. */
  read(context, embed) {
    const { w, width, heads } = this,
      place = context.length,
      size = width / heads;
    let x = add(embed, w.positions.subarray(place * width, (place + 1) * width));
    const levels = [this.finalNorm(x)],
      attention = [],
      cache = [];
    for (let layer = 0; layer < this.layers; layer++) {
      const of = (name) => [w[`${layer}.${name}.weight`], w[`${layer}.${name}.bias`]];
      const qkv = linear(layerNorm(x, ...of("ln_1")), ...of("attn.c_attn"));
      const before = context.cache[layer];
      const keys = [...before.keys, qkv.slice(width, 2 * width)],
        values = [...before.values, qkv.slice(2 * width)];
      const mixed = new Float64Array(width),
        looks = new Float64Array(place + 1);
      for (let head = 0; head < heads; head++) {
        const from = head * size;
        const scores = new Float64Array(place + 1);
        for (let column = 0; column <= place; column++) scores[column] = dot(qkv, keys[column], from, size) / Math.sqrt(size);
        const shares = softmax(scores);
        for (let column = 0; column <= place; column++) {
          const share = shares[column],
            value = values[column];
          looks[column] += share / heads;
          for (let i = from; i < from + size; i++) mixed[i] += share * value[i];
        }
      }
      x = add(x, linear(mixed, ...of("attn.c_proj")));
      const inner = linear(layerNorm(x, ...of("ln_2")), ...of("mlp.c_fc")).map(geluTanh);
      x = add(x, linear(inner, ...of("mlp.c_proj")));
      levels.push(this.finalNorm(x));
      attention.push(looks);
      cache.push({ keys, values });
    }
    return { length: place + 1, cache, state: levels.at(-1), levels, looks: average(attention) };
  }

  readAll(context, ids) {
    return ids.reduce((read, id) => this.read(read, this.embed(id)), context);
  }

  get nothing() {
    return { length: 0, cache: Array.from({ length: this.layers }, () => ({ keys: [], values: [] })), state: null };
  }

  /** What the probe of thought i for result j finds in a vector: probabilities of its values. */
  probe(vector, i, j) {
    const { w, results, classes } = this.probes,
      at = (i * results + j) * classes;
    const weight = w.weight.subarray(at * vector.length, (at + classes) * vector.length);
    return softmax(linear(vector, weight, w.bias.subarray(at, at + classes)));
  }

  /** The k most probable words of a state, as [word, probability]. */
  says(state, k) {
    const shares = softmax(this.logits(state));
    return best(shares, k).map((id) => [this.tokenizer.words[id], shares[id]]);
  }
}

// From the last state to the next input.
const WRITERS = {
  nobody: () => (state) => state,
  hidden: () => (state) => state,
  pause: (m) => () => Float64Array.from(m.w["writer.embedding"]),
  projection: (m) => (state) => {
    const inner = linear(state, m.w["writer.1.weight"], m.w["writer.1.bias"]).map(gelu);
    return layerNorm(
      linear(inner, m.w["writer.3.weight"], m.w["writer.3.bias"]),
      m.w["writer.ln.weight"],
      m.w["writer.ln.bias"],
    );
  },
  latent_head: (m) => (state) => {
    const inner = linear(state, m.w["writer.0.weight"], m.w["writer.0.bias"]).map(gelu);
    const outer = linear(inner, m.w["writer.2.weight"], m.w["writer.2.bias"]);
    return linear(layerNorm(outer, m.w["writer.3.weight"], m.w["writer.3.bias"]), m.w["writer.4.weight"], m.w["writer.4.bias"]);
  },
  mixture: (m) => (state) => {
    const logits = m.logits(state).map((v) => v / m.writerOptions.temperature);
    const words = best(logits, m.writerOptions.top_k);
    const shares = softmax(Float64Array.from(words, (id) => logits[id]));
    return words.reduce((sum, id, i) => add(sum, times(new Float64Array(m.embed(id)), shares[i])), new Float64Array(m.width));
  },
};

// Which states end the thoughts before their number is reached.
const STOPS = {
  latent_head: (m) => (state) => argmax(m.logits(state)) === m.endsThoughts,
  mixture: (m) => (state) => argmax(m.logits(state)) === m.endsThoughts,
};
