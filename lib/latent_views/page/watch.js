// Words beside thoughts, in one time: a position of the model's input each tick.

class Watch {
  constructor(page) {
    this.page = page;
    this.at = 0;
    this.play = h("button", { class: "main", onclick: () => (this.timer ? this.stop() : this.start()) }, "▶ Play");
    this.step = h("button", { onclick: () => this.go(this.at >= this.length ? 1 : this.at + 1) }, "Step");
    this.speed = select(
      [
        ["1000", "½×"],
        ["500", "1×"],
        ["250", "2×"],
        ["125", "4×"],
      ],
      "500",
      () => this.timer && this.start(),
    );
    this.position = h("input", { type: "range", min: 0, max: 1, value: 0, oninput: (e) => this.go(Number(e.target.value)) });
    this.thoughts = h("input", { type: "range", min: 0, max: 3, oninput: (e) => page.think(Number(e.target.value)) });
    this.count = h("output", {});
    this.clock = h("output", { class: "clock", "aria-live": "off" });
    this.sides = h("div", { class: "sides" });
    this.element = h(
      "div",
      { class: "view" },
      h(
        "div",
        { class: "controls" },
        this.play,
        this.step,
        labelled("Speed", this.speed),
        labelled("Position", this.position),
        this.clock,
        labelled("Speaks after", h("span", { class: "row" }, this.thoughts, this.count)),
      ),
      this.sides,
    );
  }

  /** A question was asked, or a thought changed. */
  show() {
    const { page } = this;
    this.stop();
    for (const control of [this.play, this.step, this.position, this.thoughts]) control.disabled = !page.run;
    this.thoughts.max = page.model.nThoughts;
    this.thoughts.value = page.n;
    const most = page.model.endsThoughts === null ? "" : "≤ "; // it may end its thoughts itself
    this.count.textContent = `${most}${page.n} thought${page.n === 1 ? "" : "s"}`;
    this.tracks = page.run ? [page.besideTrack(), page.track()].filter(Boolean) : [];
    this.sides.replaceChildren(...this.tracks.map((track) => (track.side = new Side(page, track)).element));
    this.position.max = this.length;
    this.go(this.length);
  }

  get length() {
    return Math.max(0, ...this.tracks.map((track) => track.steps.length));
  }

  start() {
    if (!this.timer && this.at >= this.length) this.go(0);
    clearInterval(this.timer);
    this.timer = setInterval(() => (this.at < this.length ? this.go(this.at + 1) : this.stop()), Number(this.speed.value));
    this.play.textContent = "⏸ Pause";
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "▶ Play";
  }

  go(at) {
    this.at = at;
    this.position.value = at;
    this.position.setAttribute("aria-valuetext", `position ${at} of ${this.length}`);
    const each = this.tracks.map(({ ms, steps }) => (ms * Math.min(at, steps.length)) / (steps.length || 1));
    this.clock.textContent = this.tracks.length ? `${at} positions ≈ ${each.map((ms) => ms.toFixed(1)).join(" | ")} ms` : "";
    for (const { side } of this.tracks) side.go(at);
  }
}

/** One model on one question: its search, its positions, its answer. */
class Side {
  constructor(page, track) {
    Object.assign(this, { track, model: track.model });
    const { graph, steps } = track;
    this.drawing = graph && new Drawing(graph);
    this.chips = steps.map((step) => this.chip(step));
    this.results = graph ? null : h("p", { class: "results" }, track.results);
    this.answer = h("p", { class: "answer" });
    this.verdict = h("p", { class: "verdict" });
    this.element = panel(
      track.title,
      track.caption,
      track.more,
      this.drawing?.element ?? null,
      h("ol", { class: "chips", "aria-label": "Positions after the question" }, this.chips),
      this.results,
      h("div", { class: "said", "aria-live": "polite" }, this.answer, this.verdict),
    );
    this.element.classList.add(graph ? "searches" : "calculates");
  }

  chip({ thought, word, says, changed, number }) {
    if (!thought) return h("li", { class: "chip word" }, shown(word));
    const [best, share] = says[0],
      many = this.track.steps.filter((step) => step.thought).length > 8;
    return h(
      "li",
      { class: `chip thought${changed ? " changed" : ""}${many ? " many" : ""}` },
      glyph(thought, this.drawing || many ? 30 : 44),
      many ? null : h("span", { class: "name" }, changed ? `${number}: ${changed}` : `thought ${number}`),
      this.drawing
        ? null
        : h("span", { class: "holds", style: `--share:${share}` }, many ? brief(best) : `${brief(best)} ${percent(share)}`),
    );
  }

  go(at) {
    const { steps, graph, answer, verdict, ms } = this.track,
      done = at >= steps.length;
    this.chips.forEach((chip, i) => chip.classList.toggle("coming", i >= at));
    this.chips.forEach((chip, i) => chip.classList.toggle("now", i === at - 1 && !done));
    this.answer.textContent = done ? `Answer: ${answer ?? "none"}` : "…";
    this.verdict.textContent = done ? `${verdict.text} · ${steps.length} positions, ${ms.toFixed(1)} ms` : "";
    if (this.results) this.results.classList.toggle("coming", !done);
    this.verdict.className = `verdict ${done ? ({ true: verdict.broken ? "half" : "right", false: "wrong" }[verdict.right] ?? "") : ""}`;
    if (graph) this.search(at, done);
  }

  /** Glow with the last thought, or with what was the choice of words before the last one written. */
  search(at, done) {
    const { steps, graph, answer, door } = this.track,
      past = steps.slice(0, at),
      last = past.at(-1);
    const path = past.filter((step) => step.node && !step.thought).map((step) => step.word);
    const whole = path.length && !past.some((step) => step.thought) ? [graph.root, ...path] : path;
    const shares = new Map(done ? door : last?.says);
    const lit = [...shares].filter(([, p]) => p >= 0.05).map(([node, p]) => `${node} ${percent(p)}`);
    this.drawing.show(
      shares,
      answer && done ? [...whole, answer].filter((n, i, all) => all.length > 1) : whole,
      done ? answer : null,
      done ? `The answer is ${answer ?? "missing"}` : `Held now: ${lit.join(", ") || "nothing in particular"}`,
    );
  }
}
