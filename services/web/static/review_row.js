// One row on the page: question, answer, passages with the answer's place marked, and the buttons for a verdict.

import { button, el } from "./dom.js";
import { highlighted } from "./sources.js";

const KEYS_OFF = "lorag.review.keys-off";
const VERDICTS = { keep: "You kept this.", drop: "You dropped this.", correct: "You corrected this." };

/**
 * `at` is `{number, total, first}`, `on` is `{say(verdict, words), skip(), back(), end()}`. `press(key)` says whether the key did
 * something.
 */
export function row(item, at, on) {
  const question = item.said?.question ?? item.question;
  const answer = item.said?.answer ?? item.answer;
  const heading = el("h2", { tabindex: -1, class: "asked" }, question);
  const form = correction(question, answer, {
    send: (words) => on.say("correct", words),
    cancel: () => heading.focus({ preventScroll: true }),
  });
  const acts = {
    k: ["Keep", () => on.say("keep"), { class: "primary" }],
    d: ["Drop", () => on.say("drop"), { class: "stop" }],
    q: ["Correct question", () => form.open("question"), {}],
    a: ["Correct answer", () => form.open("answer"), { disabled: !item.answer }],
    s: ["Skip", on.skip, {}],
    b: ["Back", on.back, { disabled: at.first }],
    x: ["End", on.end, { class: "quiet" }],
  };
  const buttons = Object.entries(acts).map(([key, [text, act, attributes]]) => keyed(key, text, act, attributes));
  const keys = keySwitch();
  const element = el(
    "div",
    { class: "review-row" },
    progress(at, keys.element),
    el(
      "article",
      { "aria-label": `Row ${at.number} of ${at.total}` },
      item.said ? el("p", {}, el("span", { class: "chip" }, VERDICTS[item.said.verdict])) : "",
      heading,
      el("p", { class: item.answer ? "given" : "given soft" }, el("span", { class: "unseen" }, "Answer: "), answer || "The passages do not say."),
      form.element,
      el("h3", {}, item.passages.length === 1 ? "Passage" : "Passages"),
      el("ol", { class: "read-passages" }, item.passages.map(passage)),
    ),
    el("div", { class: "verdict-bar", role: "group", "aria-label": "Verdict" }, buttons),
  );
  return {
    element,
    focus: () => heading.focus({ preventScroll: true }),
    press(key) {
      const found = Object.hasOwn(acts, key) && keys.on() ? acts[key] : null;
      if (!found || found[2].disabled) return false;
      found[1]();
      return true;
    },
  };
}

function progress({ number, total }, keys) {
  const text = `${number} of ${total}`;
  return el(
    "div",
    { class: "read-progress" },
    el("p", { class: "small", role: "status" }, text),
    el("progress", { max: total, value: number - 1, "aria-label": "Rows read" }),
    keys,
  );
}

const keyed = (key, text, act, attributes) => {
  const made = button(text, act, { ...attributes, "aria-keyshortcuts": key });
  made.append(el("kbd", { "aria-hidden": "true" }, key));
  return made;
};

function passage({ title, text, answer }) {
  const places = answer ? [{ ...answer, quote: Array.from(text).slice(answer.start, answer.end).join("") }] : [];
  return el(
    "li",
    { class: "read-passage" },
    title ? el("h4", {}, title.replaceAll(" > ", " › ")) : "",
    el("p", { class: "passage-text" }, highlighted(text, places)),
  );
}

/** The form of a correction. `on` is `{send(words), cancel()}`; `words` holds only what was changed. */
function correction(question, answer, on) {
  const fields = { question: field("The question", question), answer: answer ? field("The answer", answer) : null };
  const used = Object.entries(fields).filter(([, each]) => each);
  const hint = el("p", { class: "small", role: "status" });
  const element = el(
    "form",
    { class: "correction", hidden: true, "aria-label": "Correction" },
    used.map(([, each]) => [el("label", { for: each.id }, each.label), each.input]),
    hint,
    el("div", { class: "row end" }, button("Cancel", close, { class: "quiet" }), el("button", { type: "submit", class: "primary" }, "Save")),
  );

  function close() {
    element.hidden = true;
    for (const [, each] of used) each.input.value = each.text;
    on.cancel();
  }

  element.addEventListener("submit", (event) => {
    event.preventDefault();
    const changed = used.filter(([, each]) => each.input.value.trim() !== each.text);
    const blank = used.some(([, each]) => !each.input.value.trim());
    if (blank) hint.textContent = "Neither may be empty. Cancel and drop the row instead.";
    else if (!changed.length) hint.textContent = "Nothing is changed yet.";
    else on.send(Object.fromEntries(changed.map(([name, each]) => [name, each.input.value.trim()])));
  });
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.target.tagName !== "TEXTAREA") return;
    event.preventDefault();
    element.requestSubmit();
  });
  return {
    element,
    open(name) {
      element.hidden = false;
      hint.textContent = "";
      fields[name].input.focus();
      fields[name].input.select();
    },
  };
}

function field(label, text) {
  const id = `correct-${label.split(" ").at(-1)}`;
  const input = el("textarea", { id, rows: 2, maxlength: id === "correct-question" ? 2000 : 8000, spellcheck: true });
  input.value = text;
  return { id, label, text, input };
}

/** Single keys can get in the way of speech input, so they can be switched off (WCAG 2.2, 2.1.4). */
function keySwitch() {
  const input = el("input", { type: "checkbox" });
  input.checked = !sessionStorage.getItem(KEYS_OFF);
  input.addEventListener("change", () => {
    if (input.checked) sessionStorage.removeItem(KEYS_OFF);
    else sessionStorage.setItem(KEYS_OFF, "1");
  });
  return { on: () => input.checked, element: el("label", { class: "keys small" }, input, "Single keys") };
}
