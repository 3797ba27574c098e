// Change a thought, and watch the answer.

class Change {
  constructor(page) {
    this.page = page;
    this.thoughts = h("div", { class: "thoughts", role: "group", "aria-label": "Thoughts: choose one to change" });
    this.donor = h("p", { class: "donor" });
    this.word = h("input", { type: "text", size: 8, "aria-label": "Word to write in place of the thought" });
    this.factor = select(
      [
        ["0", "× 0"],
        ["0.5", "× ½"],
        ["2", "× 2"],
        ["-1", "× −1"],
      ],
      "0.5",
      () => {},
    );
    this.factor.setAttribute("aria-label", "Factor");
    this.noise = select(
      [
        ["0.25", "¼ of its length"],
        ["0.5", "half its length"],
        ["1", "its own length"],
      ],
      "0.5",
      () => {},
    );
    this.noise.setAttribute("aria-label", "How much noise");
    const act = (text, make) => h("button", { onclick: () => this.apply(make) }, text);
    this.actions = [
      act("Remove", () => ({ kind: "remove" })),
      act("Swap", () => ({ kind: "swap", by: page.donor.question })),
      act("Write", () => ({ kind: "word", by: this.word.value.trim() })),
      act("Scale", () => ({ kind: "scale", by: Number(this.factor.value) })),
      act("Add noise", () => ({ kind: "noise", by: Number(this.noise.value) })),
    ];
    const [remove, swap, write, scale, noise] = this.actions;
    this.swapAll = h("button", { onclick: () => page.changeAll() }, "Swap all");
    this.other = h("button", { onclick: () => page.nextDonor() }, "Another donor");
    this.restore = h("button", { onclick: () => page.restore() }, "Restore all");
    this.again = h(
      "button",
      { role: "switch", "aria-checked": "false", class: "switch", onclick: () => page.setAgain(!page.again) },
      "",
    );
    this.bars = new Bars();
    this.held = h("p", { class: "caption" });
    this.search = h("div", { class: "holder" });
    this.outcome = h("p", { class: "outcome", "aria-live": "polite" });
    this.element = h(
      "div",
      { class: "view halves" },
      panel(
        "Change a thought",
        "Choose a thought, then what becomes of it.",
        [
          "A removed thought leaves no gap: what comes later moves up by one place, which the model has never seen. Another problem's thought keeps every place and is the fairer test.",
          "“Later thoughts kept”: only this one is changed. “Thought again”: the model goes on thinking from the changed one.",
          "Noise has one direction, the same for every thought, so that a change can be repeated.",
        ],
        this.thoughts,
        this.again,
        h(
          "div",
          { class: "actions" },
          h("div", { class: "row" }, swap, this.swapAll, this.other, this.restore),
          this.donor,
          h("div", { class: "row" }, remove, write, this.word),
          h("div", { class: "row" }, scale, this.factor, noise, this.noise),
        ),
      ),
      panel(
        "What it would answer",
        "Outlined: how probable it was. Filled: as it is now.",
        [
          "These are the probabilities of the next word at the answer's door: the position that is about to say the answer.",
          "If the donor's answer comes up, the changed thought carried it. If the right one is lost and the donor's does not come up, the thought was needed but did not carry the answer by itself.",
          "One example is an anecdote: “On 200 problems” makes the same change on two hundred.",
        ],
        this.outcome,
        this.bars.element,
        this.held,
        this.search,
      ),
    );
  }

  apply(make) {
    this.page.change(make());
  }

  show() {
    const { page } = this,
      thoughts = page.run ? page.before.had : [];
    const now = new Map((page.run?.had ?? []).map((one) => [one.place, one]));
    const focused = this.thoughts.contains(document.activeElement) ? page.chosen : null;
    this.thoughts.replaceChildren(
      ...thoughts.map((one, i) => {
        const change = page.changes.get(i),
          shown = change ? now.get(i) : one;
        const many = thoughts.length > 8, // no room for words
          state = change ? wordOf(change) : "as it was";
        return h(
          "button",
          {
            class: `chip thought${change ? " changed" : ""}${many ? " many" : ""}`,
            "aria-pressed": String(page.chosen === i),
            "aria-label": many ? `thought ${i + 1}, ${state}` : null,
            onclick: () => page.choose(i),
            onkeydown: (event) => this.move(event, i, thoughts.length),
          },
          glyph((shown ?? one).vector, many ? 30 : 44),
          h("span", { class: "name" }, many ? `${i + 1}${change ? "*" : ""}` : `thought ${i + 1}`),
          many ? null : h("span", { class: "state" }, state),
        );
      }),
    );
    if (focused !== null) this.thoughts.children[page.chosen]?.focus();
    const idle = !thoughts.length;
    for (const control of [...this.actions, this.swapAll, this.other, this.word, this.factor, this.noise, this.again])
      control.disabled = idle;
    this.restore.disabled = !page.changes.size;
    this.again.setAttribute("aria-checked", String(page.again));
    this.again.textContent = page.again ? "Later thoughts: thought again" : "Later thoughts: kept as they were";
    this.donor.replaceChildren(
      ...(page.donor ? ["Donor: ", h("q", {}, short(page.donor.question, 90)), ` Its answer: ${page.donor.answer}`] : []),
    );
    this.bars.show(page.run ? page.distribution() : []);
    this.drawn(now);
    this.outcome.textContent = page.run ? page.outcome() : "No question was asked.";
  }

  /** On a graph: what the chosen thought holds now. */
  drawn(now) {
    const { page } = this,
      { graph } = page,
      one = now.get(page.chosen);
    this.held.textContent = graph && page.run ? (one ? `Below: what this thought holds now.` : "This thought is gone.") : "";
    if (!graph || !page.run) return this.search.replaceChildren();
    if (this.drawing?.graph !== graph) this.search.replaceChildren((this.drawing = new Drawing(graph)).element);
    const says = one ? page.model.says(one.holds, 8) : [];
    this.drawing.show(
      new Map(says),
      [],
      null,
      says
        .filter(([, p]) => p >= 0.05)
        .map(([node, p]) => `${node} ${percent(p)}`)
        .join(", ") || "nothing",
    );
  }

  move(event, i, n) {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: n - 1 }[event.key];
    if (to === undefined || to < 0 || to >= n) return;
    event.preventDefault();
    this.page.choose(to);
  }
}

/** What was done to a thought, in a word or two. */
function wordOf({ kind, by }) {
  return { remove: "removed", swap: "swapped", word: `“${by}”`, scale: `× ${by}`, noise: "noise added" }[kind];
}

/** Bars that move: a row for each answer, kept from one change to the next. */
class Bars {
  constructor() {
    this.rows = new Map();
    this.element = h("ul", { class: "bars" });
  }

  /** Rows of {word, before, after, marks}. */
  show(rows) {
    for (const [word, { row }] of this.rows) if (!rows.some((one) => one.word === word)) row.remove() ?? this.rows.delete(word);
    rows.forEach(({ word, before, after, marks }) => {
      if (!this.rows.has(word)) this.rows.set(word, this.row(word));
      const { row, was, is, text, tags } = this.rows.get(word);
      was.style.width = `${100 * before}%`;
      is.style.width = `${100 * after}%`;
      text.textContent = before === after ? percent(after) : `${percent(before)} → ${percent(after)}`;
      tags.replaceChildren(...marks.map((mark) => h("span", { class: `mark ${mark}` }, mark)));
      this.element.append(row);
    });
  }

  row(word) {
    const [was, is] = [h("span", { class: "was" }), h("span", { class: "is" })],
      [text, tags] = [h("span", { class: "text" }), h("span", { class: "tags" })];
    return {
      row: h("li", {}, h("b", {}, word || "␣"), h("span", { class: "track" }, was, is), text, tags),
      was,
      is,
      text,
      tags,
    };
  }
}
