// The sources of an answer: citation marks that open their source, and passages with the quoted words highlighted.

import { el, plural } from "./dom.js";

// The forms that pipeline/contracts/citations.py reads: [1], [1, 2], [1-3], [1–3], [1 and 2], [passage 1].
const DASH = "(?:[-‐‑‒–—−]|\\bto\\b)";
const ITEM = `\\d{1,3}(?:\\s*${DASH}\\s*\\d{1,3})?`;
const MARK = new RegExp(
  `\\s*\\[\\s*(?:passages?\\s+|no\\.\\s*|\\^)?(${ITEM}(?:\\s*(?:,\\s*and\\b|[,;&]|\\band\\b)\\s*${ITEM})*)\\s*\\]`,
  "gi",
);
const NUMBERS = new RegExp(`(\\d+)(?:\\s*${DASH}\\s*(\\d+))?`, "gi");

/** The passages that the inside of a mark names, in order. */
function numbersOf(listed) {
  return [...listed.matchAll(NUMBERS)].flatMap(([, low, high]) => {
    const [first, last] = [Number(low), Number(high ?? low)].sort((a, b) => a - b);
    return Array.from({ length: last - first + 1 }, (_, step) => first + step);
  });
}

/** The answer with each number of a citation mark as `mark(n)`. Marks of sources that the text does not name follow at its end. */
export function markedText(text, cited, mark) {
  const nodes = [];
  const named = new Set();
  let at = 0;
  for (const match of text.matchAll(MARK)) {
    const numbers = numbersOf(match[1]);
    nodes.push(text.slice(at, match.index), ...numbers.map(mark));
    numbers.forEach((number) => named.add(number));
    at = match.index + match[0].length;
  }
  nodes.push(text.slice(at));
  return [...nodes, ...cited.filter((number) => !named.has(number)).map(mark)];
}

/** The place of a quote in `characters`: its offsets, else the first match of its words, else null. */
function place(characters, { quote, start, end }) {
  if (!quote) return null;
  if (characters.slice(start, end).join("") === quote) return { start, end };
  const text = characters.join("");
  const units = text.indexOf(quote);
  if (units < 0) return null;
  const from = Array.from(text.slice(0, units)).length;
  return { start: from, end: from + Array.from(quote).length };
}

/** The places of all quotes, in order and without overlap. */
function places(characters, citations) {
  const found = citations.map((citation) => place(characters, citation)).filter(Boolean);
  found.sort((one, other) => one.start - other.start);
  return found.filter((each, index) => index === 0 || each.start >= found[index - 1].end);
}

/**
 * A passage's text as nodes, the quoted words in `<mark>`. Offsets count code points, as in Python. Strings here count UTF-16
 * units, so the text is split into code points first.
 */
export function highlighted(text, citations) {
  const characters = Array.from(text);
  const nodes = [];
  let at = 0;
  for (const { start, end } of places(characters, citations)) {
    nodes.push(characters.slice(at, start).join(""), el("mark", {}, characters.slice(start, end).join("")));
    at = end;
  }
  return [...nodes, characters.slice(at).join("")];
}

/**
 * The sources of one answer. `element` is the list; `mark(n)` makes the button that opens source n, or plain text if there is no
 * such passage.
 */
export function sourceList(id, passages, citations) {
  const cards = new Map(
    passages.map((passage) => {
      const quotes = citations.filter(({ number }) => number === passage.number);
      return [passage.number, card(`${id}-source-${passage.number}`, passage, quotes)];
    }),
  );
  const cited = [...cards.values()].filter((each) => each.cited);
  const others = [...cards.values()].filter((each) => !each.cited);
  const element = el(
    "div",
    { class: "sources" },
    el("h4", {}, cited.length ? "Sources" : "Passages found"),
    cited.length
      ? el(
          "ol",
          { class: "cards" },
          cited.map((each) => each.element),
        )
      : null,
    others.length ? found(others, cited.length > 0) : null,
    cards.size ? null : el("p", { class: "soft small" }, "Nothing was found in the documents."),
  );
  const mark = (number) => {
    const target = cards.get(number);
    if (!target) return el("span", { class: "mark dead", title: "There is no such source" }, `[${number}]`);
    const button = el(
      "button",
      { type: "button", class: "mark", "aria-label": `Source ${number}: ${target.title}` },
      String(number),
    );
    button.addEventListener("click", () => target.open(button));
    return button;
  };
  return { element, mark, cited: cited.map((each) => each.number) };
}

function found(others, folded) {
  const list = el(
    "ol",
    { class: "cards" },
    others.map((each) => each.element),
  );
  if (!folded) return list;
  return el("details", { class: "others" }, el("summary", {}, `${plural(others.length, "passage")} found and not cited`), list);
}

/** ` · page 3`, ` · pages 3–4`, or nothing for a file without pages. */
function onPages(pages) {
  if (!pages.length) return "";
  const [first, last] = [pages[0], pages[pages.length - 1]];
  return first === last ? ` · page ${first}` : ` · pages ${first}–${last}`;
}

/** One passage, folded under its title. A cited one shows the quote while it is folded. */
function card(id, { number, title: given, source, text, score, pages = [], also = [] }, quotes) {
  const title = (given || source).replaceAll(" > ", " › ");
  const back = el("button", { type: "button", class: "back", hidden: true }, "Back to the answer");
  const head = el(
    "span",
    { class: "source-head" },
    el("span", { class: "source-title" }, el("span", { class: "unseen" }, `Source ${number}: `), title),
    quotes.map(({ quote, page }) => [
      el("q", { class: "quote" }, quote),
      page == null ? null : el("span", { class: "soft small" }, ` page ${page}`),
    ]),
  );
  const summary = el("summary", {}, el("span", { class: "number", "aria-hidden": "true" }, String(number)), head);
  const passage = el(
    "div",
    { class: "passage" },
    el("p", { class: "passage-text" }, highlighted(text, quotes)),
    el("p", { class: "soft small path" }, `${source}${onPages(pages)} · score ${score.toFixed(3)}`),
    also.length ? el("p", { class: "soft small path" }, `The same text: ${also.join(", ")}`) : null,
    back,
  );
  const details = el("details", { class: "source", id }, summary, passage);
  /** `from` is the mark that was pressed; the back button returns to it. */
  const open = (from) => {
    details.closest(".others")?.setAttribute("open", "");
    details.open = true;
    back.hidden = false;
    back.onclick = () => from.focus();
    summary.focus({ preventScroll: true });
    details.scrollIntoView({ block: "nearest" });
  };
  return { title, number, cited: quotes.length > 0, open, element: el("li", {}, details) };
}
