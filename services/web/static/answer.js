// One answer while it streams and when it is complete: stages, rewrite, text, sources.

import { announce, el, seconds } from "./dom.js";
import { feedback } from "./feedback.js";
import { making, verdictList } from "./making.js";
import { markedText, sourceList } from "./sources.js";

const STAGES = {
  intent: "Read the intent",
  rewrite: "Rewrote the question",
  retrieve: "Searched the documents",
  answerability: "Checked whether they answer it",
  synthesize: "Wrote the answer",
  support: "Checked the answer against its sources",
};
let made = 0;

/**
 * The view of one answer. `heading` names it ("Answer", "Setting A"), `setting` describes the chosen adapters.
 * The caller calls `stage` and `text` as they arrive, and at the end one of `finish`, `stop`, `fail`.
 */
export function answer(heading, setting = "") {
  const id = `answer-${++made}`;
  const title = setting
    ? el("h3", { id, class: "lane-title" }, heading, el("span", { class: "soft" }, ` ${setting}`))
    : el("h3", { id, class: "unseen" }, heading);
  const working = el("li", { class: "working" }, "Working");
  const steps = el("ol", { class: "steps", "aria-label": "Stages so far" }, working);
  const text = el("div", { class: "answer-text" });
  const rest = el("div", { class: "answer-rest" });
  const body = el("div", { class: "answer" }, text, rest);
  const element = el("section", { class: "lane", "aria-labelledby": id, "aria-busy": "true" }, title, steps, body);
  const settle = () => {
    element.removeAttribute("aria-busy");
    steps.remove();
  };

  return {
    element,
    stage({ name, seconds: taken }) {
      const words = STAGES[name] ?? name;
      working.before(el("li", {}, words, el("span", { class: "soft" }, ` ${seconds(taken)}`)));
      announce(words);
    },
    /** The whole text so far. A mark becomes a button when its source is known. */
    text(written) {
      text.replaceChildren(...markedText(written, [], (number) => el("span", { class: "mark" }, String(number))));
    },
    /** `completion` is the answer's id, by which feedback names it. */
    finish(written, facts, completion) {
      settle();
      const sources = sourceList(id, facts.passages, facts.citations);
      text.replaceChildren(...markedText(written, sources.cited, sources.mark));
      text.classList.toggle("refused", facts.refused);
      const said = feedback(setting ? heading : "the answer", completion, facts);
      rest.append(...[remark(facts), verdictList(facts.verdicts), making(facts), said.element].filter(Boolean));
      if (facts.rewrite !== facts.question) body.before(rewriteLine(facts.rewrite));
      element.append(sources.element);
      const count = sources.cited.length;
      announce(`${heading}: ${facts.answer} ${count ? `${count} of the sources cited.` : "No source cited."}`);
    },
    stop() {
      settle();
      rest.append(el("p", { class: "remark" }, "■ Stopped. What is above is unfinished."));
      announce("Stopped.");
    },
    /** `box` shows the error. */
    fail(box) {
      settle();
      rest.append(box);
    },
  };
}

function rewriteLine(question) {
  return el("p", { class: "rewrite" }, el("span", { class: "soft" }, "Searched for "), el("em", {}, question));
}

function remark({ refused, outcome }) {
  if (refused) return el("p", { class: "remark" }, "○ Declined: the passages found do not hold the answer.");
  if (outcome === "ok") return null;
  return el("p", { class: "remark" }, "! The reply does not cite as it should; it stands here as written.");
}
