// Feedback on one answer: right or not, and what it should have been. Each press is kept at once; the form says more.

import { call } from "./api.js";
import { announce, button, el } from "./dom.js";
import { trouble } from "./trouble.js";

const REASONS = {
  incorrect: "It is not correct",
  incomplete: "Something is missing",
  off_topic: "It answers something else",
  unclear: "It is hard to understand",
  wrongly_refused: "It declined although the documents say",
  other: "Something else",
};
const REMARKS = { "": "No remark", wrong: "Wrong source", right: "Holds the answer" };

/** The buttons below an answer, and the form that they open. `name` tells the answer from others, `facts` are its details. */
export function feedback(name, id, facts) {
  const prefix = `feedback-${id}`;
  const right = thumb("Right", "up");
  const wrong = thumb("Not right", "down");
  const more = button("Say what was wrong", open, { class: "quiet", hidden: true, "aria-controls": prefix });
  const state = el("span", { class: "soft small" });
  const form = detailForm(name, prefix, facts, { send, cancel: close });
  const problem = el("div");
  const row = el("div", { class: "feedback-row" }, el("span", { class: "soft small" }, "Was this right?"), right, wrong, more, state);
  const element = el("div", { class: "feedback", role: "group", "aria-label": `Feedback on ${name}` }, row, problem, form.element);
  let rating = "";
  let busy = false;

  right.addEventListener("click", () => press("up"));
  wrong.addEventListener("click", () => press("down"));

  /** Keeps a thumb. Pressing it again withdraws all feedback on the answer. */
  async function press(chosen) {
    if (rating === chosen) {
      if (await reach(() => call(`v1/feedback/${encodeURIComponent(id)}`, { method: "DELETE" }))) show("", "Withdrawn.");
      return;
    }
    if (!(await give({ rating: chosen }))) return;
    show(chosen, "Kept with this answer.");
    if (chosen === "down") open();
  }

  async function send(said) {
    if (!(await give({ rating: "down", ...said }))) return;
    show("down", "Kept with this answer. Thank you.");
    close();
  }

  const give = (said) => reach(() => call("v1/feedback", { method: "POST", json: { id, ...said } }));

  /** Whether the call succeeded; shows why not. One call at a time. */
  async function reach(work) {
    if (busy) return false;
    busy = true;
    try {
      await work();
      problem.replaceChildren();
      return true;
    } catch (error) {
      problem.replaceChildren(trouble(error));
      return false;
    } finally {
      busy = false;
    }
  }

  function show(chosen, text) {
    rating = chosen;
    for (const [each, value] of [[right, "up"], [wrong, "down"]]) each.setAttribute("aria-pressed", String(value === chosen));
    state.textContent = text;
    announce(text);
    if (chosen !== "down") form.element.hidden = true;
    more.hidden = chosen !== "down" || !form.element.hidden;
  }

  function open() {
    form.element.hidden = false;
    more.hidden = true;
    form.focus();
  }

  function close() {
    form.element.hidden = true;
    more.hidden = false;
    more.focus();
  }

  return { element };
}

const thumb = (text, way) =>
  el(
    "button",
    { type: "button", class: "thumb", "aria-pressed": "false" },
    el("span", { class: `thumb-sign ${way}`, "aria-hidden": "true" }),
    text,
  );

/** What was wrong and what would have been right. `on` is `{send(said), cancel()}`; `said` holds what is filled in. */
function detailForm(name, id, { passages, rewrite, question }, on) {
  const reasons = Object.entries(REASONS).map(([value, text]) => ({ value, ...check(text) }));
  const answer = el("textarea", { id: `${id}-answer`, rows: 2, maxlength: 8000 });
  const absent = check("The documents do not say");
  const sources = passages.map((passage) => remarkOn(`${id}-source-${passage.number}`, passage));
  const asked = el("input", { id: `${id}-question`, maxlength: 2000, placeholder: rewrite || question });
  const comment = el("textarea", { id: `${id}-comment`, rows: 2, maxlength: 4000 });
  const element = el(
    "form",
    { class: "feedback-form", id, hidden: true, "aria-label": `What was wrong with ${name}` },
    el("fieldset", {}, el("legend", {}, "What was wrong?"), el("div", { class: "checks" }, reasons.map((each) => each.element))),
    el("label", { for: answer.id }, "The right answer"),
    answer,
    absent.element,
    sources.length
      ? el("fieldset", {}, el("legend", {}, "The sources"), el("ul", { class: "remarks" }, sources.map((each) => each.element)))
      : null,
    el("label", { for: asked.id }, "What the question should have been"),
    asked,
    el("label", { for: comment.id }, "Anything else"),
    comment,
    el(
      "div",
      { class: "row end" },
      button("Cancel", on.cancel, { class: "quiet" }),
      el("button", { type: "submit", class: "primary" }, "Send"),
    ),
  );
  /** Where the documents do not say, there is no right answer and no source that holds it. */
  absent.input.addEventListener("change", () => {
    answer.disabled = absent.input.checked;
    for (const each of sources) each.forbidRight(absent.input.checked);
  });
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    const marked = (remark) => sources.filter((each) => each.remark() === remark).map((each) => each.id);
    on.send({
      reasons: reasons.filter(({ input }) => input.checked).map(({ value }) => value),
      answer: answer.disabled ? "" : answer.value,
      not_in_documents: absent.input.checked,
      question: asked.value,
      comment: comment.value,
      wrong_passages: marked("wrong"),
      right_passages: marked("right"),
    });
  });
  return { element, focus: () => reasons[0].input.focus() };
}

function check(text) {
  const input = el("input", { type: "checkbox" });
  return { input, element: el("label", { class: "check" }, input, text) };
}

/** A source with a choice of what is said of it. */
function remarkOn(id, { number, id: passage, title, source }) {
  const options = Object.entries(REMARKS).map(([value, text]) => el("option", { value }, text));
  const select = el("select", { id }, options);
  const label = el(
    "label",
    { for: id },
    el("span", { class: "number" }, String(number)),
    el("span", {}, (title || source).replaceAll(" > ", " › ")),
  );
  return {
    id: passage,
    element: el("li", {}, label, select),
    remark: () => select.value,
    forbidRight(forbidden) {
      options.at(-1).disabled = forbidden;
      if (forbidden && select.value === "right") select.value = "";
    },
  };
}
