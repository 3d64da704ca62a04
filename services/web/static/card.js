// The evidence and the card of an adapter version. Knows the card's keys, but not how it is fetched.

import { el, facts, plural } from "./dom.js";

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;

/** The newest held-out comparison in one line. */
export function evidenceLine(evidence) {
  const newest = evidence.find(({ kind }) => kind === "held-out");
  if (!newest) return el("p", { class: "soft" }, "No held-out comparison yet, so it cannot be promoted.");
  const { metric, against, reference, tuned, difference, low, high, n } = newest;
  const [tone, words] = judgement(low, high, against.weights_digest ? against.version : "the base");
  return el(
    "div",
    { class: "evidence" },
    el("span", {}, el("span", { class: "soft" }, `${metric} `), `${reference.toFixed(3)} → `, el("strong", {}, tuned.toFixed(3))),
    el(
      "span",
      {},
      el("strong", {}, signed(difference)),
      el("span", { class: "soft" }, ` (${signed(low)} to ${signed(high)}, n = ${n})`),
    ),
    el("span", { class: `chip ${tone}` }, words),
  );
}

function judgement(low, high, other) {
  if (low > 0) return ["good", `▲ better than ${other}`];
  if (high < 0) return ["bad", `▼ worse than ${other}`];
  return ["", "◆ no clear difference"];
}

/** A card in groups of facts. */
export function cardFacts({ identity, lora, data, training, libraries, licence, notes }) {
  return [
    facts("h3", "Weights", {
      base: identity.base,
      precision: identity.precision,
      rank: lora.rank,
      alpha: lora.alpha,
      parameters: `${lora.parameters.toLocaleString("en")} (${(lora.share * 100).toFixed(2)} % of the base)`,
      targets: lora.targets.join(", "),
      "SHA-256": identity.weights_digest,
    }),
    facts("h3", "Data", {
      name: data.name,
      rows: plural(data.rows, "row"),
      splits: pairs(data.splits),
      files: Object.keys(data.files).join(", "),
    }),
    facts("h3", "Training", {
      method: training.method,
      steps: training.steps,
      epochs: training.epochs,
      "learning rate": training.learning_rate,
      batch: training.batch,
      "final loss": training.final_loss.toFixed(4),
      "on dev": pairs(training.dev),
      time: `${Math.round(training.seconds)} s`,
      seed: training.seed,
    }),
    facts("h3", "Otherwise", { licence, notes, libraries: pairs(libraries) }),
  ];
}

const pairs = (mapping) =>
  Object.entries(mapping)
    .map(([name, value]) => `${name} ${typeof value === "number" ? Number(value.toFixed(4)) : value}`)
    .join(", ");
