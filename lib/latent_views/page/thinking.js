// A question, its thoughts, changes of them, the answer.
//
// A change is {thought, kind, by}: remove; swap, by another question; word, by a word; scale, by a factor; noise, by a
// length as a share of the thought's own. Later thoughts are kept as they were, or thought `again` from the changed one.

/** Ids of the question as it stands before thoughts. Raises Refused for what the model cannot read. */
function prompt(model, question, marked = model.marked) {
  if (!question.trim()) throw new Refused("Type a question, or take another one.");
  const ids = model.tokenizer.encode(question), room = model.context - model.nThoughts - model.maxNewTokens;
  if (!ids.length) throw new Refused("Type a question, or take another one.");
  if (ids.length > room) throw new Refused(`The question is too long: ${ids.length} tokens, and this model has room for ${room}.`);
  return marked ? [...ids, model.ids.bot] : ids;
}

/** The latent loop: z_{i+1} = write(h_i), each read before the next is written. `change(z, i)` may replace one. */
function think(model, context, n, change = (z) => z) {
  const had = [];
  for (let i = 0; i < n; i++) {
    const vector = change(model.write(context.state), i);
    had.push({ vector, writtenBy: context });
    context = model.read(context, vector);
    if (model.stops(context.state)) break;
  }
  return { had, context };
}

/** What a change makes of a thought; null where it is removed. */
function changed(model, vector, { thought, kind, by }) {
  if (kind === "remove") return null;
  if (kind === "scale") return times(vector, by);
  if (kind === "noise") return add(vector, times(Float64Array.from(model.w.noise), by * lengthOf(vector)));
  if (kind === "word") return Float64Array.from(model.embed(wordId(model, by)));
  const other = thoughtsOf(model, by, thought + 1);
  if (!other[thought]) throw new Refused(`The other problem has only ${other.length} thoughts.`);
  return other[thought].vector;
}

function wordId(model, word) {
  const ids = model.tokenizer.encode(word);
  if (ids.length !== 1) throw new Refused("Write one word that the model knows into the field.");
  return ids[0];
}

function thoughtsOf(model, question, n) {
  return think(model, model.readAll(model.nothing, prompt(model, question)), n).had;
}

/** Think with changes. A removed thought leaves no gap: with later ones kept the rest closes up, again one fewer is had. */
function thinkChanged(model, question, n, changes, again) {
  const at = new Map(changes.map((change) => [change.thought, change]));
  const removed = new Set(changes.filter((c) => c.kind === "remove").map((c) => c.thought));
  if (again) {
    const places = Array.from({ length: n }, (_, i) => i).filter((i) => !removed.has(i)); // of those that are left
    const edit = (z, i) => (at.has(places[i]) ? changed(model, z, at.get(places[i])) : z);
    const { had, context } = think(model, question, places.length, edit);
    return { had: had.map((one, i) => ({ ...one, place: places[i] })), context };
  }
  const before = think(model, question, n).had, had = [];
  let context = question;
  before.forEach(({ vector }, place) => {
    if (removed.has(place)) return;
    const now = at.has(place) ? changed(model, vector, at.get(place)) : vector;
    had.push({ vector: now, writtenBy: context, place });
    context = model.read(context, now);
  });
  return { had, context };
}

/** Write on greedily: ids until the end of sequence, and the context before each. */
function write(model, context, n) {
  const ids = [], before = [];
  while (ids.length < n) {
    before.push(context);
    ids.push(argmax(model.logits(context.state)));
    if (ids.at(-1) === model.ids.eos) break;
    context = model.read(context, model.embed(ids.at(-1)));
  }
  return { ids, before, context };
}

/** Answer a question: all that a panel shows. `n`: thoughts; a model may end them itself. */
function answer(model, question, { n = model.nThoughts, changes = [], again = false, marked = model.marked } = {}) {
  const asked = prompt(model, question, marked), start = model.readAll(model.nothing, asked);
  const { had, context: thought } = thinkChanged(model, start, n, changes, again);
  const spoken = marked ? model.readAll(thought, [model.ids.eot]) : thought;
  // A model that was also taught to write its steps does so where no thought is left, unless asked for the answer.
  const emptied = changes.length > 0 && !had.length;
  const first = emptied ? model.readAll(spoken, [model.ids.answer]) : spoken;
  const { ids, before } = write(model, first, model.maxNewTokens);
  // The answer's door: where it came to one itself, behind what it wrote; otherwise it is put before one.
  const own = ids.indexOf(model.ids.answer);
  const door = emptied ? first : own >= 0 && before[own + 1] ? before[own + 1] : model.readAll(spoken, [model.ids.answer]);
  return { question: asked, had, written: ids, before, spoken, door, text: model.tokenizer.decode(ids) };
}

/** The median time, in ms, of a whole answer after one to warm up. */
function timed(ask, repeats = 5) {
  ask();
  const spent = Array.from({ length: repeats }, () => {
    const start = performance.now();
    ask();
    return performance.now() - start;
  });
  return spent.sort((a, b) => a - b)[repeats >> 1];
}
