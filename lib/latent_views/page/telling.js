// What the views are told of a run: positions in time, the answer's chances, what came of a change.

const THOUGHT = "A thought is a list of numbers, the model's last state, fed back as its next input in place of a word.";

class Telling {
  nameOf(one) {
    const change = this.changes.get(one.place);
    return change ? `thought ${one.place + 1}, ${wordOf(change)}` : `thought ${one.place + 1}`;
  }

  /** The run as positions in time. */
  track() {
    const label = (one) => this.changes.get(one.place) && wordOf(this.changes.get(one.place));
    const title = this.changes.size ? `${this.model.title}, in thoughts, changed` : `${this.model.title}, in thoughts`;
    const ask = () =>
      answer(this.model, this.text.value, { n: this.n, changes: [...this.changes.values()], again: this.again });
    return this.tracked(this.model, this.run, title, THOUGHT, ask, label);
  }

  besideTrack() {
    const id = this.besidePick.value,
      question = this.text.value;
    const model = id === "words" ? this.aloud() : this.modelOf(id);
    if (!model) return null;
    const options = id === "words" ? { n: 0, marked: false } : { n: Math.min(this.n, model.nThoughts) };
    const caption =
      id !== "words"
        ? model.writer === "pause"
          ? "Nobody writes its thoughts: the same learned numbers stand in each place, whatever was asked."
          : THOUGHT
        : `It writes its steps, a word at a time${model === this.model ? ": the same weights, asked for words." : `: ${model.title}, another model of this size.`}`;
    const ask = () => answer(model, question, options);
    return this.tracked(model, ask(), labelled("Beside it", this.besidePick), caption, ask, () => null);
  }

  /** Who writes the steps: itself, the model it started from, or one that only writes. */
  aloud() {
    const { model, data } = this;
    if (model.writesChain) return model;
    const found =
      data.models.find((one) => one.id === model.startedFrom) ??
      data.models.find((one) => one.task === model.task && !one.nThoughts);
    return found ? this.modelOf(found.id) : null;
  }

  tracked(model, run, title, caption, ask, label) {
    const { graph, words } = this;
    const thoughts = run.had.map((one) => ({
      thought: one.vector,
      number: one.place + 1,
      changed: label(one),
      says: model.says(one.holds, 8),
    }));
    const written = run.written.map((id, i) => {
      const word = model.tokenizer.words[id];
      return { word, says: model.says(run.before[i].state, 8), node: Boolean(graph?.nodes.includes(word)) };
    });
    const at = written.findIndex((step) => step.word === model.tokenizer.words[model.ids.answer]);
    written.forEach((step, i) => {
      if (at >= 0 && i > at) step.node = false;
    });
    return {
      model,
      title,
      caption,
      graph,
      text: run.text,
      steps: [...thoughts, ...written],
      ms: timed(ask),
      more: [
        "Both sides share one clock: a tick is a position of the model's input, whether a word or a thought.",
        "On a graph each node glows with how probable it is as the next word: of a thought, what that thought reads as.",
        "Milliseconds are the median of five whole answers on this computer, after one to warm up; the clock shares them out evenly.",
      ],
      verdict: verdict(model, words, run.text, run.had.length),
      answer: TASKS[model.task].said(run.text),
      results: graph ? null : this.foundWhere(model, thoughts),
      door: model.says(run.door.state, 8),
    };
  }

  /** Which result of a step is some thought's closest word; honest where none is. */
  foundWhere(model, thoughts) {
    const results = TASKS.arithmetic.results(this.words, model.options).map(String);
    if (!thoughts.length || !results.length) return "";
    const where = results.map((result) => {
      const found = thoughts
        .filter((one) => one.says[0][0] === result)
        .map((one) => `thought ${one.number} (${percent(one.says[0][1])})`);
      return `${result}: ${found.length ? found.join(", ") : "in none"}`;
    });
    return `Does a thought read as a step's result? ${where.join("; ")}.`;
  }

  /** The answers' probabilities before and after, the most probable first; whose each is. */
  distribution() {
    const { model, run, before, words } = this,
      right = TASKS[model.task].answer(words, model.options);
    const of = (one) => new Map(model.says(one.door.state, model.headWords).filter(([word]) => !word.match(SPECIAL)));
    const [was, is] = [of(before), of(run)],
      donors = this.swapped() ? this.donor.answer : null;
    const most = [...was.keys()]
      .sort((a, b) => Math.max(was.get(b), is.get(b)) - Math.max(was.get(a), is.get(a)))
      .filter((word, i) => i < 2 || Math.max(was.get(word), is.get(word)) >= 0.01)
      .slice(0, 6);
    const shown = [...new Set([...most, ...(this.graph?.candidates ?? []), right, donors])]
      .filter((word) => was.has(word))
      .slice(0, 8);
    return shown.map((word) => ({
      word,
      before: was.get(word),
      after: is.get(word),
      marks: [...(word === right ? ["right"] : []), ...(word === donors ? ["donor's"] : [])],
    }));
  }

  swapped() {
    return [...this.changes.values()].some((change) => change.kind === "swap");
  }

  /** What came of it, in one sentence. */
  outcome() {
    const { model, run, before, words } = this,
      task = TASKS[model.task];
    const [was, now] = [before, run].map((one) => task.said(one.text) ?? "nothing"),
      right = task.answer(words, model.options);
    if (!this.changes.size)
      return `It says ${was}${right === null ? "" : was === right ? ", which is right" : `; ${right} is right`}. Change a thought and watch.`;
    const whose =
      now === right
        ? "the right one"
        : this.swapped() && now === this.donor.answer
          ? "the donor's answer. Carried, or chance? Count"
          : "neither the right nor a donor's";
    if (now === was) return `It still says ${now}: the change did not move its answer.`;
    return `It said ${was}; now it says ${now}, ${this.swapped() ? whose : now === right ? "the right one" : right === null ? "changed" : "a wrong one"}.`;
  }
}

/** "thoughts 1, 2 swapped; thought 3 removed" */
function summary(changes) {
  const kinds = new Map();
  for (const one of changes.toSorted((a, b) => a.thought - b.thought))
    kinds.set(wordOf(one), [...(kinds.get(wordOf(one)) ?? []), one.thought + 1]);
  return [...kinds].map(([what, which]) => `thought${which.length > 1 ? "s" : ""} ${which.join(", ")} ${what}`).join("; ");
}
