// What each thought says, where it looks, and whether the results of the steps can be read from it.

class Look {
  constructor(page) {
    this.page = page;
    this.says = h("div", { class: "holder" });
    this.looks = h("div", { class: "holder" });
    this.results = h("div", { class: "holder" });
    this.probing = panel(
      "Which results are where?",
      "A probe is trained on other problems to read a step's result from a thought.",
      [
        "The number is how probable the probe finds the right result in this thought. Below stands how often it is right on 500 problems it has not seen, and in brackets how often with another problem's thoughts: what the numbers alone allow.",
        "Where the two shares are close, nothing can be read, whatever the model does with it.",
        "A linear probe finds only what lies open: what is not found may still be there in another form.",
      ],
      this.results,
    );
    this.element = h(
      "div",
      { class: "view stack" },
      panel(
        "What does each thought say?",
        "The words a thought is closest to, layer by layer. Pale: it reads as no word.",
        [
          "The model's own last step, which turns a state into words, is applied to the state that became the thought.",
          "CODI's thoughts pass a small projection first, so they are read before it; Coconut's are read as they are.",
          "A changed thought is read as it is now.",
        ],
        this.says,
      ),
      panel(
        "Where does it look?",
        "Each row is the position that made the thought: the share of its attention on each word, %.",
        [
          "Row “thought 1” is the last word of the question, because that is where thought 1 was written; row “answer” is the position about to answer.",
          "Attention is averaged over heads and layers. It says where information could have come from, not what was done with it.",
          "●1, ●2 … are the thoughts themselves: later thoughts, and the answer, may look back at them.",
        ],
        this.looks,
      ),
      this.probing,
    );
  }

  show() {
    const { page } = this,
      { run, model } = page;
    for (const holder of [this.says, this.looks, this.results]) holder.replaceChildren();
    this.probing.hidden = !run || !model.probes;
    if (!run) return;
    const names = run.had.map((one) => page.nameOf(one)),
      marked = run.had.flatMap((one, i) => (page.changes.has(one.place) ? [i] : []));
    const cell = (state) => {
      const [[word, p], ...more] = model.says(state, 3);
      return [p, `${brief(word)} ${percent(p)}`, more.map(([w, q]) => `${brief(w)} ${percent(q)}`).join(", ")];
    };
    const lower = Array.from({ length: model.layers }, (_, level) => [
      level ? `layer ${level}` : "embedding",
      run.had.map((one) => cell(one.writtenBy.levels[level])),
    ]);
    const rows = [...lower, [`layer ${model.layers}`, run.had.map((one) => cell(one.holds))]].reverse();
    this.says.append(run.had.length ? shades(names, rows, { marked }) : h("p", {}, "There is no thought to ask."));
    const words = run.question.map((id) => shown(model.tokenizer.words[id]));
    const columns = [...words, ...run.had.map((one) => `●${one.place + 1}`)],
      row = (looks) => columns.map((_, i) => [looks[i] ?? 0, looks[i] >= 0.015 ? String(Math.round(100 * looks[i])) : ""]);
    this.looks.append(
      shades(columns, [...run.had.map((one, i) => [names[i], row(one.writtenBy.looks)]), ["answer", row(run.door.looks)]], {
        marked: marked.map((i) => words.length + i),
      }),
    );
    if (model.probes) this.results.append(this.probed(names));
  }

  probed(names) {
    const { run, model, words } = this.page,
      { probes } = model,
      values = TASKS.arithmetic.results(words, model.options);
    if (values.length <= probes.results || run.had.length !== probes.thoughts)
      return h("p", {}, "The probes were trained on questions of this form with all thoughts; here is another case.");
    const rows = Array.from({ length: probes.results }, (_, j) => [
      `step ${j + 1}: ${values[j]}`,
      run.had.map((one, i) => {
        const p = model.probe(one.vector, i, j)[values[j]] ?? 0;
        return [p, percent(p), `right ${percent(probes.right[i][j])} (${percent(probes.mismatched[i][j])})`];
      }),
    ]);
    const most = Math.max(...probes.right.flat().map((share, at) => share - probes.mismatched.flat()[at]));
    const found =
      most < 0.1 ? "Nothing to speak of can be read: no probe is 10 points above what another problem's thoughts give." : "";
    return h("div", {}, shades(names, rows), found ? h("p", { class: "caption" }, found) : "");
  }
}
