// The page: one question, one model, the run of it with the changes made, and four ways to look at that.

const TABS = [["watch", "Watch", Watch], ["change", "Change its mind", Change], ["look", "Look inside", Look], ["count", "Count", Count]];
const THOUGHT = "A thought is a list of numbers, the model's last state, fed back as its next input in place of a word.";

let pages = 0;

class Page {
  constructor(root, data) {
    this.data = data;
    const unique = `page-${++pages}`;
    this.models = new Map(); // unpacked when first used
    this.thinkers = data.models.filter((one) => one.nThoughts);
    const groups = [...new Set(this.thinkers.map((one) => one.task))].sort().reverse().map((task) => [task, { graph: "Graph search", arithmetic: "Arithmetic" }[task],
      this.thinkers.filter((one) => one.task === task).map((one) => [one.id, nameOf(one)])]);
    this.modelPick = select(groups, null, (id) => this.take(id));
    this.modelPick.setAttribute("aria-label", "Model");
    this.besidePick = h("select", { "aria-label": "What stands beside it", onchange: () => this.refresh() });
    this.text = h("input", { type: "text", maxlength: 12000, spellcheck: "false", autocomplete: "off" });
    this.message = h("div", { class: "message", role: "status", tabindex: -1 });
    this.restoreHere = h("button", { onclick: () => this.restore(), hidden: true }, "Restore");
    this.views = TABS.map(([id, name, View]) => ({ id, name, view: new View(this) }));
    this.tabs = this.views.map(({ id, name }, i) => h("button", { role: "tab", id: `${unique}-tab-${id}`, "aria-controls": `${unique}-${id}`,
      onclick: () => this.open(i), onkeydown: (event) => this.turn(event, i) }, name));
    this.panels = this.views.map(({ id, view }) => h("div", { role: "tabpanel", id: `${unique}-${id}`, "aria-labelledby": `${unique}-tab-${id}` }, view.element));
    root.replaceChildren(h("div", { class: "page" },
      h("div", { class: "top" }, h("h1", {}, "Watch a model think"), h("div", { role: "tablist", "aria-label": "Views" }, this.tabs), this.theme(root)),
      h("form", { class: "asking", onsubmit: (event) => { event.preventDefault(); this.ask(); } },
        labelled("Model", this.modelPick), h("label", { class: "labelled grow" }, h("span", {}, "Question"), this.text),
        h("button", { class: "main" }, "Ask"), h("button", { type: "button", onclick: () => this.another() }, "Another")),
      h("div", { class: "note" }, this.message, this.restoreHere),
      h("main", {}, this.panels)));
    this.open(0);
    this.take((this.thinkers.find((one) => one.task === "graph") ?? this.thinkers[0]).id);
  }

  /** Light, dark, or as the system has it. */
  theme(root) {
    const names = ["auto", "light", "dark"], button = h("button", { onclick: () => set(names[(names.indexOf(root.dataset.theme) + 1) % 3]) });
    const set = (name) => { root.dataset.theme = name; button.textContent = `Theme: ${name}`; };
    root.classList.add("latent");
    set("auto");
    return button;
  }

  open(i) {
    this.opened = i;
    this.tabs.forEach((tab, j) => { tab.setAttribute("aria-selected", String(i === j)); tab.tabIndex = i === j ? 0 : -1; });
    this.panels.forEach((shown, j) => { shown.hidden = i !== j; });
  }

  turn(event, i) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const to = (i + step + TABS.length) % TABS.length;
    this.open(to);
    this.tabs[to].focus();
  }

  modelOf(id) {
    if (!this.models.has(id)) this.models.set(id, new Model(this.data.models.find((one) => one.id === id)));
    return this.models.get(id);
  }

  get problems() {
    return this.data.tasks[this.model.task];
  }

  take(id) {
    const before = this.model?.task;
    this.model = this.modelOf(id);
    this.modelPick.value = id;
    this.n = this.model.nThoughts;
    const others = this.thinkers.filter((one) => one.task === this.model.task && one.id !== id);
    this.besidePick.replaceChildren(...[["words", "In words"], ...others.map((one) => [one.id, one.title])].map(([value, text]) => h("option", { value }, text)));
    if (before !== this.model.task) {
      this.index = 0;
      this.text.value = this.problems[0].question;
    }
    this.ask();
  }

  another() {
    this.index = (this.index + 1) % this.problems.length;
    this.text.value = this.problems[this.index].question;
    this.ask();
  }

  /** Ask what stands in the field, thoughts unchanged. */
  ask() {
    this.changes = new Map();
    this.again = false;
    this.chosen = 0;
    this.donorAt = this.problems.findIndex((one) => one.question === this.text.value);
    this.refresh();
    if (this.run) this.nextDonor();
  }

  think(n) {
    this.n = n;
    this.changes.clear();
    this.chosen = 0;
    this.refresh();
  }

  choose(i) {
    this.chosen = i;
    this.views[1].view.show();
  }

  change(change) {
    this.attempt(new Map(this.changes).set(this.chosen, { thought: this.chosen, ...change }));
  }

  changeAll() {
    this.attempt(new Map(this.before.had.map((_, thought) => [thought, { thought, kind: "swap", by: this.donor.question }])));
  }

  /** Changes that cannot be made leave those that were. */
  attempt(changes) {
    const kept = this.changes;
    this.changes = changes;
    if (!this.refresh()) {
      this.changes = kept;
      const { textContent } = this.message;
      this.refresh();
      this.say(textContent, "refused");
    }
  }

  restore() {
    this.changes = new Map();
    this.refresh();
  }

  setAgain(again) {
    this.again = again;
    this.refresh();
  }

  get donor() {
    return this.problems[this.donorAt];
  }

  nextDonor() {
    const own = [TASKS[this.model.task].answer(this.words, this.model.options), ...(this.graph?.candidates ?? [])];
    do this.donorAt = (this.donorAt + 1) % this.problems.length; while (this.donor.question === this.text.value || own.includes(this.donor.answer));
    const changes = [...this.changes].map(([i, one]) => [i, one.kind === "swap" ? { ...one, by: this.donor.question } : one]);
    if (this.swapped()) this.attempt(new Map(changes));
    else this.views[1].view.show();
  }

  /** Compute and show everything anew; whether that went well. A reader is told why not, and the page stays alive. */
  refresh() {
    const { model, n, again } = this, question = this.text.value, changes = [...this.changes.values()];
    this.say("", "");
    this.run = this.before = null;
    let well = true;
    try {
      this.before = answer(model, question, { n });
      this.run = changes.length ? answer(model, question, { n, changes, again }) : this.before;
      this.words = model.tokenizer.encode(question).map((id) => model.tokenizer.words[id]);
      this.graph = model.task === "graph" ? TASKS.graph.read(this.words) : null;
      const outside = TASKS[model.task].outside(this.words, model.options);
      if (changes.length) this.say(`Shown as changed: ${summary(changes)}.${outside ? " Not what it was trained on." : ""}`, "changed");
      else if (outside) this.say(`Not what this model was trained on, expect nonsense. ${outside}`, "outside");
      else this.say(TASKS[model.task].asks(this.words, model.options), "asks");
    } catch (error) {
      well = false;
      this.run = this.before = null;
      this.say(error instanceof Refused ? error.message : `${error.name}: ${error.message}`, "refused");
    }
    this.restoreHere.hidden = !this.changes.size;
    for (const { view } of this.views) view.show();
    return well;
  }

  say(text, kind) {
    this.message.textContent = short(text, 300);
    this.message.className = `message ${kind}`;
    this.message.title = text.length > 120 ? short(text, 1000) : "";
  }

  nameOf(one) {
    const change = this.changes.get(one.place);
    return change ? `thought ${one.place + 1}, ${wordOf(change)}` : `thought ${one.place + 1}`;
  }

  /** The run as positions in time. */
  track() {
    const label = (one) => this.changes.get(one.place) && wordOf(this.changes.get(one.place));
    const title = this.changes.size ? `${this.model.title}, in thoughts, changed` : `${this.model.title}, in thoughts`;
    const ask = () => answer(this.model, this.text.value, { n: this.n, changes: [...this.changes.values()], again: this.again });
    return this.tracked(this.model, this.run, title, THOUGHT, ask, label);
  }

  besideTrack() {
    const id = this.besidePick.value, question = this.text.value;
    const model = id === "words" ? this.aloud() : this.modelOf(id);
    if (!model) return null;
    const options = id === "words" ? { n: 0, marked: false } : { n: Math.min(this.n, model.nThoughts) };
    const caption = id !== "words" ? (model.writer === "pause" ? "Nobody writes its thoughts: the same learned numbers stand in each place, whatever was asked." : THOUGHT)
      : `It writes its steps, a word at a time${model === this.model ? ": the same weights, asked for words." : `: ${model.title}, another model of this size.`}`;
    const ask = () => answer(model, question, options);
    return this.tracked(model, ask(), labelled("Beside it", this.besidePick), caption, ask, () => null);
  }

  /** Who writes the steps: itself, the model it started from, or one that only writes. */
  aloud() {
    const { model, data } = this;
    if (model.writesChain) return model;
    const found = data.models.find((one) => one.id === model.startedFrom) ?? data.models.find((one) => one.task === model.task && !one.nThoughts);
    return found ? this.modelOf(found.id) : null;
  }

  tracked(model, run, title, caption, ask, label) {
    const { graph, words } = this;
    const thoughts = run.had.map((one) => ({ thought: one.vector, number: one.place + 1, changed: label(one), says: model.says(one.holds, 8) }));
    const written = run.written.map((id, i) => {
      const word = model.tokenizer.words[id];
      return { word, says: model.says(run.before[i].state, 8), node: Boolean(graph?.nodes.includes(word)) };
    });
    const at = written.findIndex((step) => step.word === model.tokenizer.words[model.ids.answer]);
    written.forEach((step, i) => { if (at >= 0 && i > at) step.node = false; });
    return {
      model, title, caption, graph, text: run.text, steps: [...thoughts, ...written], ms: timed(ask),
      more: ["Both sides share one clock: a tick is a position of the model's input, whether a word or a thought.",
        "On a graph each node glows with how probable it is as the next word: of a thought, what that thought reads as.",
        "Milliseconds are the median of five whole answers on this computer, after one to warm up; the clock shares them out evenly."],
      verdict: verdict(model, words, run.text, run.had.length), answer: TASKS[model.task].said(run.text), results: graph ? null : this.foundWhere(model, thoughts), door: model.says(run.door.state, 8),
    };
  }

  /** Which result of a step is some thought's closest word; honest where none is. */
  foundWhere(model, thoughts) {
    const results = TASKS.arithmetic.results(this.words, model.options).map(String);
    if (!thoughts.length || !results.length) return "";
    const where = results.map((result) => {
      const found = thoughts.filter((one) => one.says[0][0] === result).map((one) => `thought ${one.number} (${percent(one.says[0][1])})`);
      return `${result}: ${found.length ? found.join(", ") : "in none"}`;
    });
    return `Does a thought read as a step's result? ${where.join("; ")}.`;
  }

  /** The answers' probabilities before and after, the most probable first; whose each is. */
  distribution() {
    const { model, run, before, words } = this, right = TASKS[model.task].answer(words, model.options);
    const of = (one) => new Map(model.says(one.door.state, model.headWords).filter(([word]) => !word.match(SPECIAL)));
    const [was, is] = [of(before), of(run)], donors = this.swapped() ? this.donor.answer : null;
    const most = [...was.keys()].sort((a, b) => Math.max(was.get(b), is.get(b)) - Math.max(was.get(a), is.get(a))).filter((word, i) => i < 2 || Math.max(was.get(word), is.get(word)) >= 0.01).slice(0, 6);
    const shown = [...new Set([...most, ...(this.graph?.candidates ?? []), right, donors])].filter((word) => was.has(word)).slice(0, 8);
    return shown.map((word) => ({ word, before: was.get(word), after: is.get(word),
      marks: [...(word === right ? ["right"] : []), ...(word === donors ? ["donor's"] : [])] }));
  }

  swapped() {
    return [...this.changes.values()].some((change) => change.kind === "swap");
  }

  /** What came of it, in one sentence. */
  outcome() {
    const { model, run, before, words } = this, task = TASKS[model.task];
    const [was, now] = [before, run].map((one) => task.said(one.text) ?? "nothing"), right = task.answer(words, model.options);
    if (!this.changes.size) return `It says ${was}${right === null ? "" : was === right ? ", which is right" : `; ${right} is right`}. Change a thought and watch.`;
    const whose = now === right ? "still the right one" : this.swapped() && now === this.donor.answer ? "the donor's answer. Carried, or chance? Count" : "neither the right nor a donor's";
    if (now === was) return `It still says ${now}: the change did not move its answer.`;
    return `It said ${was}; now it says ${now}, ${this.swapped() ? whose : now === right ? "the right one" : right === null ? "changed" : "a wrong one"}.`;
  }
}

/** "thoughts 1, 2 swapped; thought 3 removed" */
function summary(changes) {
  const kinds = new Map();
  for (const one of changes.toSorted((a, b) => a.thought - b.thought)) kinds.set(wordOf(one), [...(kinds.get(wordOf(one)) ?? []), one.thought + 1]);
  return [...kinds].map(([what, which]) => `thought${which.length > 1 ? "s" : ""} ${which.join(", ")} ${what}`).join("; ");
}

const nameOf = (one) => `${one.title}, ${Math.round(100 * one.accuracy)} %`;
