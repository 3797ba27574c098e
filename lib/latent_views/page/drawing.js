// The graph as it is searched: each node glows with its probability, the written path and the answer are marked.

class Drawing {
  constructor(graph) {
    this.graph = graph;
    this.places = places(graph);
    const spots = [...this.places.values()],
      [wide, high] = [Math.max(...spots.map((s) => s[0])), Math.max(...spots.map((s) => s[1]))];
    const edges = graph.edges.map(([a, b]) => {
      const line = this.line(a, b);
      return [`${a}>${b}`, line && svg("line", { ...line, class: "edge" })];
    });
    this.edges = new Map(edges.filter(([, line]) => line));
    this.extra = svg("g");
    this.nodes = new Map(graph.nodes.filter((node) => this.places.has(node)).map((node) => [node, this.node(node)]));
    this.title = svg("title");
    this.element = svg(
      "svg",
      { class: "graph", viewBox: `0 0 ${wide + 80} ${high + 50}`, role: "img" },
      this.title,
      [...this.edges.values()],
      this.extra,
      [...this.nodes.values()].map((parts) => parts.group),
    );
  }

  line(a, b) {
    if (!this.places.has(a) || !this.places.has(b)) return null;
    const [[x, y], [p, q]] = [this.places.get(a), this.places.get(b)],
      far = Math.hypot(p - x, q - y) || 1;
    const [dx, dy] = [(24 * (p - x)) / far, (24 * (q - y)) / far];
    return { x1: x + dx, y1: y + dy, x2: p - dx, y2: q - dy };
  }

  node(name) {
    const [x, y] = this.places.get(name),
      { root, candidates, distances } = this.graph;
    const kind = `node${name === root ? " root" : ""}${candidates.includes(name) ? " candidate" : ""}${distances.has(name) ? "" : " elsewhere"}`;
    const shape = () =>
      candidates.includes(name)
        ? svg("rect", { x: x - 23, y: y - 23, width: 46, height: 46, rx: 6 })
        : svg("circle", { cx: x, cy: y, r: 24 });
    const [ground, glow] = [shape(), shape()];
    ground.classList.add("ground");
    glow.classList.add("glow");
    const share = svg("text", { x: x + 29, y: y - 14, class: "share" });
    const label = svg("text", { x, y: y + 8, class: "name" }, short(name, 6));
    return { group: svg("g", { class: kind }, ground, glow, label, share), glow, share, label };
  }

  /** `shares` by node, the path written so far, the answer (or null), in words for who cannot see it. */
  show(shares, path, answer, inWords) {
    for (const [name, { group, glow, share }] of this.nodes) {
      const p = shares.get(name) ?? 0;
      glow.style.setProperty("--share", p.toFixed(3));
      group.classList.toggle("written", path.includes(name));
      group.classList.toggle("answer", name === answer);
      share.textContent = p >= 0.05 ? percent(p) : "";
    }
    const steps = path.slice(1).map((node, i) => [path[i], node]);
    for (const [name, line] of this.edges)
      line.classList.toggle(
        "taken",
        steps.some(([a, b]) => `${a}>${b}` === name),
      );
    const missing = steps.filter(([a, b]) => !this.graph.has(a, b)).map(([a, b]) => this.line(a, b));
    this.extra.replaceChildren(...missing.filter(Boolean).map((line) => svg("line", { ...line, class: "edge missing" })));
    this.title.textContent = inWords;
  }
}

/** Columns by distance from the sources; below each other, near what they hang on. */
function places(graph) {
  const sources = graph.nodes.filter((node) => node === graph.root || graph.edges.every(([, b]) => b !== node));
  const found = new Map(),
    rows = new Map();
  const trees = sources.map((source) => layers(graph, [source]));
  let top = 0;
  for (const tree of trees) {
    const height = Math.max(...tree.map((level) => level.filter((node) => !found.has(node)).length), 1);
    tree.forEach((level, depth) => {
      const fresh = level.filter((node) => !found.has(node));
      const above = (node) => Math.min(...graph.edges.filter(([a, b]) => b === node && rows.has(a)).map(([a]) => rows.get(a)));
      fresh.sort((a, b) => above(a) - above(b));
      fresh.forEach((node, i) => {
        rows.set(node, top + i + (height - fresh.length) / 2);
        found.set(node, [40 + 128 * depth, 40 + 72 * rows.get(node)]);
      });
    });
    top += height;
  }
  return found;
}
