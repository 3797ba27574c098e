// A question, its thoughts, changes of them, the answer.
//
// A change is {thought, kind, by}: remove; swap, by another question; word, by a word; scale, by a factor; noise, by a
// length as a share of the thought's own. Later thoughts are kept as they were, or thought `again` from the changed one.

/** Ids of the question as it stands before thoughts. Raises Refused for what the model cannot read. */
function prompt(model, question, marked = model.marked) {
  if (!question.trim()) throw new Refused("Type a question, or take another one.");
  const ids = model.tokenizer.encode(question),
    room = model.context - model.nThoughts - model.maxNewTokens;
  if (!ids.length) throw new Refused("Type a question, or take another one.");
  if (ids.length > room)
    throw new Refused(`The question is too long: ${ids.length} tokens, and this model has room for ${room}.`);
  return marked ? [...ids, model.ids.bot] : ids;
}

/** The latent loop: z_{i+1} = write(h_i), each read before the next is written. `change(z, i)` may replace one. */
function think(model, context, n, change = (vector) => ({ vector })) {
  const had = [];
  for (let i = 0; i < n; i++) {
    const now = change(model.write(context.state), i);
    had.push(thoughtOf(model, context, i, now));
    context = model.read(context, now.vector);
    if (model.stops(context.state)) break;
  }
  return { had, context };
}

/** A thought is asked as it is where it is a state itself, or looks away; otherwise through the state that it was made of. */
function thoughtOf(model, writtenBy, place, { vector, holds }) {
  return { vector, writtenBy, place, holds: holds ?? (ASKED_ITSELF.includes(model.writer) ? vector : writtenBy.state) };
}

const ASKED_ITSELF = ["nobody", "hidden", "pause"];

/** What a change makes of a thought, and the state to ask what it holds: {vector, holds}; null where it is removed. */
function changed(model, vector, { thought, kind, by }) {
  if (kind === "remove") return null;
  if (kind === "scale") return { vector: times(vector, by) };
  if (kind === "noise") return { vector: add(vector, times(new Float64Array(model.w.noise), by * lengthOf(vector))) };
  if (kind === "word")
    return { vector: new Float64Array(model.embed(wordId(model, by))), holds: model.embed(wordId(model, by)) };
  const other = thoughtsOf(model, by)[thought];
  if (!other) throw new Refused(`The other problem has no thought ${thought + 1}.`);
  return { vector: other.vector, holds: other.holds };
}

function wordId(model, word) {
  const ids = model.tokenizer.encode(word);
  if (ids.length !== 1) throw new Refused("Write one word that the model knows into the field.");
  return ids[0];
}

/** Another question's thoughts; those asked for last are kept. */
function thoughtsOf(model, question) {
  if (!model.others.has(question)) {
    if (model.others.size > 3) model.others.delete(model.others.keys().next().value);
    model.others.set(question, think(model, model.readAll(model.nothing, prompt(model, question)), model.nThoughts).had);
  }
  return model.others.get(question);
}

/** Think with changes. A removed thought leaves no gap: with later ones kept the rest closes up, again one fewer is had. */
function thinkChanged(model, question, n, changes, again) {
  const at = new Map(changes.map((change) => [change.thought, change]));
  const edit = (vector, place) => (at.has(place) ? changed(model, vector, at.get(place)) : { vector });
  if (again) {
    const places = Array.from({ length: n }, (_, i) => i).filter((i) => at.get(i)?.kind !== "remove");
    const { had, context } = think(model, question, places.length, (vector, i) => edit(vector, places[i]));
    return { had: had.map((one, i) => ({ ...one, place: places[i] })), context };
  }
  const had = [];
  let context = question;
  for (const { vector, place } of think(model, question, n).had) {
    const now = edit(vector, place);
    if (!now) continue;
    had.push(thoughtOf(model, context, place, now));
    context = model.read(context, now.vector);
  }
  return { had, context };
}

/** Write on greedily: ids until the end of sequence, and the context before each. */
function write(model, context, n) {
  const ids = [],
    before = [];
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
  const asked = prompt(model, question, marked),
    start = model.readAll(model.nothing, asked);
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
