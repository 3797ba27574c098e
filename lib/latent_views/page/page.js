// The page: one question, one model, the run of it with the changes made, and four ways to look at that.

const TABS = [
  ["watch", "Watch", Watch],
  ["change", "Change its mind", Change],
  ["look", "Look inside", Look],
  ["count", "Count", Count],
];

let pages = 0;

class Page extends Telling {
  constructor(root, data) {
    super();
    this.data = data;
    const unique = `page-${++pages}`;
    this.models = new Map(); // unpacked when first used
    this.thinkers = data.models.filter((one) => one.nThoughts);
    const groups = [...new Set(this.thinkers.map((one) => one.task))]
      .sort()
      .reverse()
      .map((task) => [
        task,
        { graph: "Graph search", arithmetic: "Arithmetic" }[task],
        this.thinkers.filter((one) => one.task === task).map((one) => [one.id, nameOf(one)]),
      ]);
    this.modelPick = select(groups, null, (id) => this.take(id));
    this.modelPick.setAttribute("aria-label", "Model");
    this.besidePick = h("select", { "aria-label": "What stands beside it", onchange: () => this.refresh() });
    this.text = h("input", { type: "text", maxlength: 12000, spellcheck: "false", autocomplete: "off" });
    this.message = h("div", { class: "message", role: "status", tabindex: -1 });
    this.restoreHere = h("button", { onclick: () => this.restore(), hidden: true }, "Restore");
    this.views = TABS.map(([id, name, View]) => ({ id, name, view: new View(this) }));
    this.tabs = this.views.map(({ id, name }, i) =>
      h(
        "button",
        {
          role: "tab",
          id: `${unique}-tab-${id}`,
          "aria-controls": `${unique}-${id}`,
          onclick: () => this.open(i),
          onkeydown: (event) => this.turn(event, i),
        },
        name,
      ),
    );
    this.panels = this.views.map(({ id, view }) =>
      h("div", { role: "tabpanel", id: `${unique}-${id}`, "aria-labelledby": `${unique}-tab-${id}` }, view.element),
    );
    root.replaceChildren(
      h(
        "div",
        { class: "page" },
        h(
          "div",
          { class: "top" },
          h("h1", {}, "Watch a model think"),
          h("div", { role: "tablist", "aria-label": "Views" }, this.tabs),
          this.theme(root),
        ),
        h(
          "form",
          {
            class: "asking",
            onsubmit: (event) => {
              event.preventDefault();
              this.ask();
            },
          },
          labelled("Model", this.modelPick),
          h("label", { class: "labelled grow" }, h("span", {}, "Question"), this.text),
          h("button", { class: "main" }, "Ask"),
          h("button", { type: "button", onclick: () => this.another() }, "Another"),
        ),
        h("div", { class: "note" }, this.message, this.restoreHere),
        h("main", {}, this.panels),
      ),
    );
    this.open(0);
    this.take((this.thinkers.find((one) => one.task === "graph") ?? this.thinkers[0]).id);
  }

  /** Light, dark, or as the system has it. */
  theme(root) {
    const names = ["auto", "light", "dark"],
      button = h("button", { onclick: () => set(names[(names.indexOf(root.dataset.theme) + 1) % 3]) });
    const set = (name) => {
      root.dataset.theme = name;
      button.textContent = `Theme: ${name}`;
    };
    root.classList.add("latent");
    root.dataset.lmSuppressShortcuts = "true"; // in JupyterLab, keys are the page's own
    set("auto");
    return button;
  }

  open(i) {
    this.opened = i;
    this.tabs.forEach((tab, j) => {
      tab.setAttribute("aria-selected", String(i === j));
      tab.tabIndex = i === j ? 0 : -1;
    });
    this.panels.forEach((shown, j) => {
      shown.hidden = i !== j;
    });
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
    this.besidePick.replaceChildren(
      ...[["words", "In words"], ...others.map((one) => [one.id, one.title])].map(([value, text]) =>
        h("option", { value }, text),
      ),
    );
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
    do this.donorAt = (this.donorAt + 1) % this.problems.length;
    while (this.donor.question === this.text.value || own.includes(this.donor.answer));
    const changes = [...this.changes].map(([i, one]) => [i, one.kind === "swap" ? { ...one, by: this.donor.question } : one]);
    if (this.swapped()) this.attempt(new Map(changes));
    else this.views[1].view.show();
  }

  /** Compute and show everything anew; whether that went well. A reader is told why not, and the page stays alive. */
  refresh() {
    const { model, n, again } = this,
      question = this.text.value,
      changes = [...this.changes.values()];
    this.say("", "");
    this.run = this.before = null;
    let well = true;
    try {
      this.before = answer(model, question, { n });
      this.run = changes.length ? answer(model, question, { n, changes, again }) : this.before;
      this.words = model.tokenizer.encode(question).map((id) => model.tokenizer.words[id]);
      this.graph = model.task === "graph" ? TASKS.graph.read(this.words) : null;
      const outside = TASKS[model.task].outside(this.words, model.options);
      if (changes.length)
        this.say(`Shown as changed: ${summary(changes)}.${outside ? " Not what it was trained on." : ""}`, "changed");
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
}

const nameOf = (one) => `${one.title}, ${Math.round(100 * one.accuracy)} %`;
