// The details of an answer: the judge's verdicts, the adapter and time of each stage, and the prompts.

import { el, facts, percent, seconds } from "./dom.js";

const TONES = {
  answerable: ["good", "✓"],
  supported: ["good", "✓"],
  unanswerable: ["bad", "✕"],
  unsupported: ["bad", "✕"],
  partly: ["fair", "◐"],
};

/** The verdicts as chips; null if nothing was judged. */
export function verdictList(verdicts) {
  if (!verdicts.length) return null;
  const chips = verdicts.map((each) => el("li", {}, verdict(each)));
  return el("ul", { class: "verdicts", "aria-label": "Verdicts of the judge" }, chips);
}

/** A chip that unfolds into the probability of every label, or into why there is no verdict. A sign says what its colour says. */
function verdict({ task, label, outcome, probabilities, proven }) {
  if (outcome === "failed") return el("span", { class: "chip bad" }, `! ${task}: not judged`);
  const [tone, sign] = (proven && TONES[label]) || ["", "·"];
  const hidden = el("span", { "aria-hidden": "true" }, `${sign} `);
  const said = proven ? [el("strong", {}, label), ` ${percent(probabilities[label])}`] : ["no verdict"];
  const sorted = Object.entries(probabilities).sort(([, one], [, other]) => other - one);
  return el(
    "details",
    { class: "verdict" },
    el("summary", { class: `chip ${tone}` }, hidden, `${task}: `, said),
    proven
      ? el("dl", { class: "shares" }, sorted.map(share))
      : el("p", {}, "The judge is not shown to be better than a rule in this task."),
  );
}

function share([label, probability]) {
  const meter = el("meter", { min: 0, max: 1, value: probability, "aria-label": `${label}: ${percent(probability)}` });
  return [el("dt", {}, label), el("dd", {}, meter, el("span", {}, percent(probability)))];
}

/** Adapter and time of each stage; with a full trace also each prompt and reply. */
export function making({ adapters, timings, trace = [] }) {
  const total = Object.values(timings).reduce((sum, each) => sum + each, 0);
  const times = Object.fromEntries(Object.entries(timings).map(([stage, value]) => [stage, seconds(value)]));
  return el(
    "details",
    { class: "making" },
    el("summary", {}, `How it was made · ${seconds(total)}`),
    el(
      "div",
      { class: "making-body" },
      facts("h4", "Adapters", adapters),
      facts("h4", "Time", times),
      trace.filter(({ prompt }) => prompt.length).map(promptOf),
    ),
  );
}

function promptOf({ stage, prompt, reply }) {
  const messages = [...prompt, { role: "reply", content: reply }];
  return el(
    "details",
    { class: "prompt" },
    el("summary", {}, `Prompt and reply: ${stage}`),
    messages.map(({ role, content }) => [el("h5", {}, role), el("pre", { tabindex: 0 }, content)]),
  );
}
