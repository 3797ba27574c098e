// Elements of the page. Every text becomes a text node, so that nothing a reader or a model writes is markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const percent = (share) => (share > 0 && share < 0.005 ? "<1 %" : `${Math.round(100 * share)} %`);

/** A word as it is shown: markers have names. */
const NAMES = { "<eos>": "‹end›", "<bot>": "‹think›", "<eot>": "‹speak›", "<pad>": "‹pad›" };
const shown = (word) => NAMES[word] ?? (word || "␣");
const brief = (word) => (word === "The answer is:" ? "answer:" : shown(word));

let helps = 0;

/** A panel: title, a caption in plain words, "?" with more, and what it shows. */
function panel(title, caption, more, ...content) {
  const id = `help-${++helps}`,
    name = typeof title === "string" ? title : title.firstChild.textContent;
  return h(
    "section",
    { class: "panel", "aria-label": name },
    h(
      "header",
      {},
      h("h2", {}, title),
      h("button", { class: "help", popovertarget: id, "aria-label": `More about: ${name}` }, "?"),
      h("div", { id, popover: true, class: "more" }, h("h3", {}, name), ...more.map((line) => h("p", {}, line))),
    ),
    h("p", { class: "caption" }, caption),
    ...content,
  );
}

function labelled(text, control) {
  return h("label", { class: "labelled" }, h("span", {}, text), control);
}

function select(options, chosen, onchange) {
  return h(
    "select",
    { onchange: (event) => onchange(event.target.value) },
    options.map(([value, text, inside]) =>
      inside
        ? h(
            "optgroup",
            { label: text },
            inside.map(([one, name]) => h("option", { value: one }, name)),
          )
        : h("option", { value, selected: value === chosen }, text),
    ),
  );
}

/** A thought as a picture of its numbers: the darker, the farther from 0. */
function glyph(vector, size = 48) {
  const side = Math.ceil(Math.sqrt(vector.length)),
    cell = size / side,
    most = Math.max(...vector.map(Math.abs));
  return svg(
    "svg",
    { class: "glyph", width: size, height: size, "aria-hidden": "true" },
    Array.from(vector, (v, i) =>
      svg("rect", {
        x: (i % side) * cell,
        y: Math.floor(i / side) * cell,
        width: cell,
        height: cell,
        class: v < 0 ? "below" : "above",
        "fill-opacity": (Math.abs(v) / most).toFixed(2),
      }),
    ),
  );
}

/** A table of [share, text, more]: the shade is the share, and the text says it too. */
function shades(columns, rows, { marked = [], corner = "" } = {}) {
  const mark = (i) => (marked.includes(i) ? "changed" : null);
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": corner || "table" },
    h(
      "table",
      { class: "shades" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("td", {}, corner),
          columns.map((name, i) => h("th", { scope: "col", class: mark(i) }, name)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map(([name, cells]) => h("tr", {}, h("th", { scope: "row" }, name), cells.map(shaded))),
      ),
    ),
  );
}

function shaded([share, text, more = ""]) {
  return h("td", { style: `--share:${share.toFixed(3)}` }, text, more ? h("span", { class: "small" }, more) : null);
}
