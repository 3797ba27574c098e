// The closed vocabulary of a generated task: words, whole numbers, edges a>b, brackets; commas and spaces carry nothing.

const PATTERN = /<<|>>|###|The answer is:|[A-Za-z]+>[A-Za-z]+|[A-Za-z]+|\p{Nd}+|[^\sA-Za-z\p{Nd}]/gu;
const SPECIAL = /<pad>|<eos>|<bot>|<eot>/g;

class Tokenizer {
  constructor(words) {
    this.words = words;
    this.ids = new Map(words.map((word, id) => [word, id]));
  }

  /** Raises a plain message naming the words that are not in the vocabulary, and those that a reader may not write. */
  encode(text) {
    const special = text.match(SPECIAL) ?? [];
    const words = text.replace(SPECIAL, " ").replaceAll(",", " ").match(PATTERN) ?? [];
    const unknown = [...special, ...words.filter((word) => !this.ids.has(word))];
    if (unknown.length) throw new Refused(`Words this model has never seen: ${short([...new Set(unknown)].join(", "))}`);
    return words.map((word) => this.ids.get(word));
  }

  decode(ids) {
    return ids
      .map((id) => this.words[id])
      .filter((word) => !word.match(SPECIAL))
      .join(" ");
  }
}

/** What a reader is told in one line. */
class Refused extends Error {}

const short = (text, n = 120) => (text.length > n ? `${[...text].slice(0, n).join("")} …` : text);
