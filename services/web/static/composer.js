// The field for the question, and its buttons.

import { button, el } from "./dom.js";

const ROWS = 8; // the most lines of the field
const LINE = 90; // characters that fill about a line

/** `on` is `{submit(question), stop(), reset()}`. */
export function composer(on) {
  const field = el("textarea", {
    id: "question",
    rows: 1,
    placeholder: "Ask about your documents",
    "aria-describedby": "question-keys",
  });
  const send = el("button", { type: "submit", class: "primary" }, "Ask");
  const stop = button("Stop", on.stop, { class: "stop", hidden: true });
  const fresh = button("New conversation", on.reset, { class: "quiet" });
  const keys = el("span", { class: "soft small", id: "question-keys" }, "Enter asks, Shift+Enter starts a line, Esc stops");
  const element = el(
    "form",
    { class: "composer" },
    el("label", { class: "unseen", for: "question" }, "Your question"),
    field,
    el("div", { class: "composer-row" }, fresh, keys, stop, send),
  );

  const fill = (text) => {
    field.value = text;
    field.rows = Math.min(ROWS, text.split("\n").length + Math.floor(text.length / LINE));
  };
  const submit = (event) => {
    event.preventDefault();
    const question = field.value.trim();
    if (question && !send.hidden && on.submit(question)) fill("");
  };
  element.addEventListener("submit", submit);
  field.addEventListener("input", () => fill(field.value));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  });

  return {
    element,
    /** Puts a question into the field, to be sent again or changed. */
    fill(text) {
      fill(text);
      field.focus();
    },
    focus: () => field.focus(),
    /** During an answer the next question can be typed, and Stop replaces Ask. */
    busy(working) {
      const held = [stop, send].includes(document.activeElement);
      stop.hidden = !working;
      send.hidden = working;
      if (held) field.focus();
    },
  };
}
