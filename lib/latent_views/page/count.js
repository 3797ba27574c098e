// The same change on two hundred problems, so that nobody leaves with an anecdote.

class Count {
  constructor(page) {
    this.page = page;
    this.go = h("button", { class: "main", onclick: () => this.run() }, "Count on 200 problems");
    this.what = select(
      [
        ["mine", "the changes made here"],
        ["swap", "swap all thoughts"],
        ["remove", "remove all thoughts"],
        ["noise", "add noise to all"],
      ],
      "swap",
      () => {},
    );
    this.progress = h("progress", { max: 200, value: 0, "aria-label": "Problems done" });
    this.table = h("div", { class: "holder", "aria-live": "polite" });
    this.note = h("p", { class: "caption" });
    this.element = h(
      "div",
      { class: "view" },
      panel(
        "The same change on 200 problems",
        "Each problem gets the thoughts of the one before it; what is right before and after, and whose answer is given.",
        [
          "The donor rate asks whether thoughts carry an answer: how often the donor's answer is given with the donor's thoughts, minus how often the same answer is given with a third problem's. 0 means that they do not carry it.",
          "It is counted on those of the problems whose answer, donor's and third's all differ.",
          "In square brackets: the 95 % interval of a share of so many problems (Wilson's).",
        ],
        h("div", { class: "controls" }, labelled("Change", this.what), this.go, this.progress),
        this.table,
        this.note,
      ),
    );
  }

  show() {
    this.token = null;
    const { page } = this;
    this.go.disabled = !page.model;
    this.what.options[0].disabled = !page.changes.size;
    if (!page.changes.size && this.what.value === "mine") this.what.value = "swap";
    this.progress.value = 0;
    this.table.replaceChildren();
    this.note.textContent = "";
  }

  changesFor(donor) {
    const { page } = this,
      n = page.n,
      kind = this.what.value;
    const all = (change) => Array.from({ length: n }, (_, thought) => ({ thought, ...change }));
    if (kind === "remove") return all({ kind: "remove" });
    if (kind === "noise") return all({ kind: "noise", by: 0.5 });
    if (kind === "swap") return all({ kind: "swap", by: donor.question });
    return [...page.changes.values()].map((change) => (change.kind === "swap" ? { ...change, by: donor.question } : change));
  }

  async run() {
    const { page } = this,
      { model, n, again } = page,
      problems = page.problems,
      token = (this.token = {});
    const task = TASKS[model.task],
      counts = { n: 0, before: 0, after: 0, told: 0, given: 0, otherwise: 0 };
    const says = (problem, changes) => task.said(answer(model, problem.question, { n, changes, again }).text);
    const swaps = this.changesFor(problems[0]).some((change) => change.kind === "swap");
    this.what.disabled = this.go.disabled = true;
    for (let i = 2; i < problems.length && this.token === token; i++) {
      const [problem, donor, third] = [problems[i], problems[i - 1], problems[i - 2]];
      const changed = says(problem, safely(model, donor, this.changesFor(donor)));
      counts.n++;
      counts.before += says(problem, []) === problem.answer;
      counts.after += changed === problem.answer;
      if (swaps && new Set([problem.answer, donor.answer, third.answer]).size === 3) {
        counts.told++;
        counts.given += changed === donor.answer;
        counts.otherwise += says(problem, safely(model, third, this.changesFor(third))) === donor.answer;
      }
      if (i % 5 === 0) {
        this.report(counts, swaps);
        await new Promise((done) => setTimeout(done));
      }
    }
    this.what.disabled = this.go.disabled = false;
    if (this.token === token) this.report(counts, swaps);
  }

  report({ n, before, after, told, given, otherwise }, swaps) {
    this.progress.value = n;
    const row = (name, k, of) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, name),
        h("td", {}, h("span", { class: "track" }, h("span", { class: "is", style: `width:${(100 * k) / (of || 1)}%` }))),
        h(
          "td",
          { class: "number" },
          of ? `${Math.round((100 * k) / of)} % [${interval(k, of).join(", ")}]` : "·",
        ),
        h("td", {}, `${k} of ${of}`),
      );
    const rows = [row("right, thoughts as they were", before, n), row("right, thoughts changed", after, n)];
    if (swaps)
      rows.push(
        row("the donor's answer, with the donor's thoughts", given, told),
        row("the donor's answer, with a third problem's", otherwise, told),
      );
    this.table.replaceChildren(
      h("table", { class: "counts" }, h("tbody", {}, rows)),
      swaps && told ? h("p", { class: "answer" }, `Donor rate: ${Math.round((100 * (given - otherwise)) / told)} points`) : "",
    );
    const { page } = this;
    this.note.textContent = `${page.model.title}, ${page.n} thoughts, later ones ${page.again ? "thought again" : "kept"}; ${n} of 200 problems.`;
  }
}

/** Wilson's 95 % interval of k of n, in percent. */
function interval(k, n, z = 1.96) {
  const middle = (k + (z * z) / 2) / (n + z * z),
    half = (z / (n + z * z)) * Math.sqrt((k * (n - k)) / n + (z * z) / 4);
  return [middle - half, middle + half].map((share) => Math.round(100 * Math.abs(share)));
}

/** Of thoughts that the donor did not have (it ended its own earlier) none can be taken. */
function safely(model, donor, changes) {
  const n = changes.some((change) => change.kind === "swap") ? thoughtsOf(model, donor.question).length : Infinity;
  return changes.filter((change) => change.kind !== "swap" || change.thought < n);
}
