// What a question means, whether a model was trained on such, and whether what is written is true.

const TASKS = {
  /** "Ann has 12 eggs, loses 7, times 3, eats 8: how many?" */
  arithmetic: {
    /** {start, moves: [[sign, operand]], answer} as the tokens say it, or null. */
    read(words, o) {
      const [name, has, start, thing] = words,
        rest = words.slice(4, -4);
      const framed =
        o.names.includes(name) &&
        has === "has" &&
        isNumber(start) &&
        o.things.includes(thing) &&
        words.slice(-4).join(" ") === ": how many ?" &&
        rest.length >= 2 &&
        rest.length % 2 === 0;
      if (!framed) return null;
      const moves = [];
      for (let i = 0; i < rest.length; i += 2) moves.push([o.verbs[rest[i]], Number(rest[i + 1])]);
      if (moves.some(([sign, operand]) => !sign || !Number.isInteger(operand))) return null;
      return { start: Number(start), moves };
    },

    /** What each step comes to. */
    results(words, o) {
      const meant = this.read(words, o),
        found = meant ? [meant.start] : [];
      for (const [sign, n] of meant?.moves ?? []) found.push(calculate(found.at(-1), sign, n));
      return found.slice(1);
    },

    answer(words, o) {
      const last = this.results(words, o).at(-1);
      return last === undefined ? null : String(last);
    },

    /** The question in other words. */
    asks(words, o) {
      const { start, moves } = this.read(words, o);
      return `The question: start with ${start}, then ${moves.map(([sign, n]) => `${{ "+": "add", "-": "take away", "*": "multiply by" }[sign]} ${n}`).join(", ")}.`;
    },

    /** One sentence on why this is not what the model was trained on; null where it is. */
    outside(words, o) {
      const meant = this.read(words, o),
        [low, high] = o.n_steps,
        n = meant?.moves.length;
      if (!meant) return "It only learned questions worded like “Ann has 12 eggs, loses 7, times 3, eats 8: how many?”.";
      if (n < low || n > high)
        return `It learned questions of ${low === high ? low : `${low} to ${high}`} steps; this one has ${n}.`;
      let value = meant.start;
      for (const [sign, operand] of meant.moves) {
        if (sign === "*" ? operand < 2 || operand > 3 || !value : operand < 1 || operand > o.max_operand) {
          return `It learned to add and subtract 1 to ${o.max_operand} and to multiply by 2 or 3, not ${value} ${sign} ${operand}.`;
        }
        value = calculate(value, sign, operand);
        if (value < 0 || value > o.max_value)
          return `It learned numbers from 0 to ${o.max_value}; on the way here stands ${value}.`;
      }
      return null;
    },

    /** What is wrong in a written chain "<< 12 - 7 = 5 >> …"; null where nothing is. */
    broken(written) {
      for (const [all, a, sign, b, c] of written.matchAll(/<< (\d+) ([-+*]) (\d+) = (\d+) >>/g)) {
        if (calculate(Number(a), sign, Number(b)) !== Number(c)) return `${all.slice(3, -3)} is not true`;
      }
      return null;
    },
    said: (text) => text.match(/\d+(?!.*\d)/)?.[0] ?? null,
    noun: "steps",
  },

  /** "a>b c>d b>e … ? e k from a" */
  graph: {
    read(words) {
      const at = words.indexOf("?");
      if (at < 0 || words.length !== at + 5 || words[at + 3] !== "from") return null;
      const edges = words.slice(0, at).map((word) => word.split(">"));
      if (edges.some((edge) => edge.length !== 2)) return null;
      return new Graph(edges, words[at + 4], [words[at + 1], words[at + 2]]);
    },

    answer(words) {
      const graph = this.read(words),
        right = graph?.candidates.filter((node) => graph.distances.has(node)) ?? [];
      return right.length === 1 ? right[0] : null;
    },

    asks(words) {
      const { candidates, root } = this.read(words);
      return `The question: which can be reached from ${root}, ${candidates.join(" or ")}? Dashed nodes cannot. Glow: what the model holds.`;
    },

    outside(words, o) {
      const graph = this.read(words),
        shape = [1, ...Array(o.depth).fill(o.width)].join();
      if (!graph) return "It only learned questions like “a>b b>c d>e ? c e from a”: edges, two candidates, a root.";
      const roots = graph.nodes.filter((node) => graph.edges.every(([, b]) => b !== node));
      const shapes = roots.map((root) =>
        layers(graph, [root])
          .map((level) => level.length)
          .join(),
      );
      const usual = roots.length === 2 && shapes.every((found) => found === shape) && roots.includes(graph.root);
      const reached = graph.candidates.filter((node) => graph.distances.has(node)).length;
      if (!usual)
        return `It learned two separate trees, each a root and ${o.depth} levels of ${o.width}; this graph is another.`;
      if (reached !== 1)
        return `It learned that one of two candidates can be reached; here ${reached ? "both can" : "none can"}.`;
      const deep = (node) => roots.some((root) => distancesFrom(graph, root).get(node) === o.depth);
      return graph.candidates.every(deep) ? null : "It learned candidates that are leaves; here one is not.";
    },

    /** The edge that a written path takes and the graph does not have; null where there is none, or no path. */
    broken(written, words, nThoughts) {
      const graph = this.read(words),
        [path, said] = written.split("The answer is:");
      const nodes = path.trim().split(/\s+/).filter(Boolean),
        target = this.said(written);
      if (!graph || !nodes.length) return null;
      if (!nThoughts && !graph.has(graph.root, nodes[0])) return `no edge ${graph.root}>${nodes[0]}`;
      if (!graph.distances.has(nodes[0])) return `${nodes[0]} cannot be reached from ${graph.root}`;
      for (let i = 1; i < nodes.length; i++)
        if (!graph.has(nodes[i - 1], nodes[i])) return `no edge ${nodes[i - 1]}>${nodes[i]}`;
      const last = nodes.at(-1);
      return said === undefined || target === null || distancesFrom(graph, last).has(target)
        ? null
        : `no edge ${last}>${target}`;
    },
    said: (text) => text.split("The answer is:").at(-1).trim() || null,
    noun: "path",
  },
};

const isNumber = (word) => /^\d+$/.test(word ?? "");
const calculate = (a, sign, b) => (sign === "+" ? a + b : sign === "-" ? a - b : a * b);

class Graph {
  constructor(edges, root, candidates) {
    Object.assign(this, { edges, root, candidates });
    this.nodes = [...new Set([...edges.flat(), root, ...candidates])];
    this.distances = distancesFrom(this, root);
  }

  has(a, b) {
    return this.edges.some(([x, y]) => x === a && y === b);
  }
}

/** Breadth-first: nodes level by level. */
function layers(graph, sources) {
  const seen = new Set(sources),
    found = [];
  for (let level = [...sources]; level.length;) {
    found.push(level);
    level = level.flatMap((node) => graph.edges.filter(([a]) => a === node).map(([, b]) => b));
    level = [...new Set(level)].filter((node) => !seen.has(node));
    level.forEach((node) => seen.add(node));
  }
  return found;
}

function distancesFrom(graph, root) {
  return new Map(layers(graph, [root]).flatMap((level, distance) => level.map((node) => [node, distance])));
}

/** {mark, text, right}: what is to be said of an answer. `right` is null where nobody knows. */
function verdict(model, words, text, nThoughts) {
  const task = TASKS[model.task],
    wanted = task.answer(words, model.options),
    said = task.said(text);
  if (wanted === null) return { right: null, text: "no one right answer" };
  const broken = task.broken(text, words, nThoughts);
  if (said !== wanted)
    return { right: false, broken, text: `✗ wrong, ${wanted} is right${broken ? `; broken ${task.noun}: ${broken}` : ""}` };
  return broken
    ? { right: true, broken, text: `≈ right answer, broken ${task.noun}: ${broken}` }
    : { right: true, text: "✓ right" };
}
