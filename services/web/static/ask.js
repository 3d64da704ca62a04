// The conversation: a question, its one or two answers, and the earlier turns as the history of the next question.

import { answer } from "./answer.js";
import { call, events } from "./api.js";
import { composer } from "./composer.js";
import { announce, el } from "./dom.js";
import { stagePanel } from "./stages.js";
import { trouble } from "./trouble.js";

const REMEMBERED = 12; // turns of the conversation that are sent along; the prompts use fewer
const LEAD = "Answers come from your documents alone. Each shows the passages it rests on, with the words that support it.";

/** Builds the view in `root`. */
export function askView(root) {
  let turns = []; // {question, replies: {a, b}}: the history, by setting
  let running = null; // AbortController of the current question
  const panel = stagePanel();
  const stop = () => running?.abort();
  const box = composer({ submit, stop, reset });
  const thread = el("div", { class: "thread" }, welcome());
  root.append(
    el("h1", { id: "ask-title", class: "unseen", tabindex: -1 }, "Ask"),
    el("div", { class: "ask-grid" }, el("div", { class: "ask-main" }, thread, box.element), panel.element),
  );
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") stop();
  });

  /** Asks a question, unless another is being answered. */
  function submit(question) {
    if (running) return false;
    ask(question);
    return true;
  }

  function reset() {
    stop();
    turns = [];
    thread.replaceChildren(welcome());
    announce("New conversation.");
    box.focus();
  }

  async function ask(question) {
    const conversation = turns; // a reset meanwhile begins a new one
    const turn = { question, replies: {} };
    const lanes = panel.settings().map((setting) => ({
      name: setting.name,
      place: setting.words === null ? answer("Answer") : answer(`Setting ${setting.name.toUpperCase()}`, setting.words),
      body: bodyOf(question, setting),
    }));
    if (!conversation.length) thread.querySelector(".welcome")?.remove();
    const article = turnArticle(question, lanes);
    thread.append(article);
    article.scrollIntoView({ block: "start" });
    announce(lanes.length > 1 ? "Asking both settings." : "Asking.");
    running = new AbortController();
    box.busy(true);
    const { signal } = running;
    await Promise.all(lanes.map((lane) => run(lane, turn, signal)));
    running = null;
    box.busy(false);
    if (turn.replies.a ?? turn.replies.b) conversation.push(turn);
  }

  /** The messages of a setting. A turn that only the other setting answered is sent with that answer. */
  function bodyOf(question, { name, adapters }) {
    const messages = turns.slice(-REMEMBERED).flatMap(({ question: asked, replies }) => [
      { role: "user", content: asked },
      { role: "assistant", content: replies[name] ?? replies.a ?? replies.b },
    ]);
    messages.push({ role: "user", content: question });
    return { model: "lorag", stream: true, messages, lorag: { adapters, trace: panel.tracing() } };
  }

  async function run({ name, place, body }, turn, signal) {
    let text = "";
    let facts = null;
    let completion = "";
    try {
      const response = await call("v1/chat/completions", { method: "POST", json: body, signal });
      for await (const { id, choices, lorag } of events(response, signal)) {
        completion = id;
        if (lorag?.stage) place.stage(lorag.stage);
        else if (lorag) facts = lorag;
        const piece = choices[0]?.delta.content;
        if (piece) place.text((text += piece));
      }
      if (!facts) throw new Error("The server ended the answer without its sources.");
      place.finish(text, facts, completion);
      turn.replies[name] = facts.answer || text;
    } catch (error) {
      if (signal.aborted) place.stop();
      else place.fail(trouble(error, () => box.fill(turn.question), "Ask again"));
    }
  }

  return { show: () => panel.refresh() };
}

function welcome() {
  const mark = el("span", { class: "mark" }, "1");
  return el(
    "div",
    { class: "welcome" },
    el("p", { class: "lead" }, LEAD),
    el("p", { class: "soft" }, "A small mark ", mark, " in an answer opens its source."),
  );
}

function turnArticle(question, lanes) {
  const places = lanes.map(({ place }) => place.element);
  return el(
    "article",
    { class: "turn", "aria-label": question },
    el("h2", { class: "question" }, question),
    el("div", { class: `lanes lanes-${lanes.length}` }, places),
  );
}
