// The adapters of each role: the versions, the one that serves, and buttons to promote and roll back.

import { getJson } from "./api.js";
import { cardFacts, evidenceLine } from "./card.js";
import { announce, button, confirmed, el, moment } from "./dom.js";
import { trouble } from "./trouble.js";

const ABOUT = {
  rewriter: "Turns a question of a conversation into one that stands alone.",
  embedder: "Turns questions and passages into vectors, for the search.",
  synthesizer: "Writes the answer from the passages, with citations.",
  judge: "Says whether passages answer, and whether an answer is supported.",
};
const LEAD = "One base model, a small adapter for each stage. A version serves only after a held-out comparison spoke for it.";
const PROMOTION = "It serves every user from the next question on. The version that serves now stays at hand for a rollback.";
const ROLLBACK = "The version that served before serves again, for every user.";
const PROVING = "The version is loaded and has to prove itself; until then the one before answers.";

const path = (...names) => ["v1/adapters", ...names.map(encodeURIComponent)].join("/");

/** Builds the view in `root`. */
export function adaptersView(root) {
  const heading = el("h1", { id: "adapters-title", tabindex: -1 }, "Adapters");
  const state = el("div");
  const list = el("div", { class: "roles" });
  root.append(el("div", { class: "view-head" }, heading), el("p", { class: "lead" }, LEAD), state, list);

  const tell = (text) => state.replaceChildren(el("p", { class: "notice", role: "status" }, text));

  async function load() {
    try {
      const { roles } = await getJson("v1/adapters");
      state.replaceChildren();
      list.replaceChildren(...roles.map((each) => roleSection(each, change)));
    } catch (error) {
      state.replaceChildren(trouble(error, load));
    }
  }

  /** Asks for confirmation, promotes or rolls back, then shows what serves now. */
  async function change(role, verb, json, title, text, yes) {
    if (!(await confirmed(title, text, yes))) return;
    tell(PROVING);
    heading.focus();
    try {
      const { aliases, notes } = await getJson(path(role, verb), { method: "POST", json });
      await load();
      const told = [`${role} ${aliases.production} is production now.`, ...notes].join(" ");
      if (notes.length) tell(told);
      announce(told);
    } catch (error) {
      state.replaceChildren(trouble(error));
    }
  }

  return { show: load };
}

function roleSection({ role, serving, aliases, versions }, change) {
  const back = button("Roll back", () => change(role, "rollback", undefined, `Roll the ${role} back?`, ROLLBACK, "Roll back"));
  const cards = [...versions].reverse().map((each) => versionCard(role, each, change));
  return el(
    "section",
    { class: "role", "aria-labelledby": `role-${role}` },
    el(
      "div",
      { class: "role-head" },
      el(
        "div",
        {},
        el("h2", { id: `role-${role}` }, role),
        el("p", { class: "soft" }, `${ABOUT[role] ?? ""} Serving now: `, el("code", {}, serving)),
      ),
      aliases.previous ? back : null,
    ),
    cards.length ? el("ul", { class: "versions" }, cards) : el("p", { class: "soft" }, "No version yet."),
  );
}

function versionCard(role, { version, aliases, created, evidence, problem }, change) {
  const name = `${role} ${version}`;
  const serves = aliases.includes("production");
  const promote = button("Promote", () => change(role, "promote", { version }, `Promote ${name}?`, PROMOTION, "Promote"), {
    "aria-label": `Promote ${name}`,
  });
  const chips = aliases.map((alias) =>
    alias === "production" ? el("span", { class: "chip good" }, "● production") : el("span", { class: "chip" }, alias),
  );
  return el(
    "li",
    { class: serves ? "version serves" : "version" },
    el("div", { class: "version-head" }, el("code", {}, version), chips, el("span", { class: "soft small" }, moment(created))),
    problem ? el("p", { class: "trouble" }, problem) : evidenceLine(evidence),
    problem ? null : el("div", { class: "version-foot" }, cardDetails(role, version), serves ? null : promote),
  );
}

/** The card, fetched when it is first unfolded. */
function cardDetails(role, version) {
  const body = el("div", { class: "card-body" }, el("p", { class: "soft" }, "Loading"));
  const summary = el("summary", {}, "Card", el("span", { class: "unseen" }, ` of ${role} ${version}`));
  const details = el("details", { class: "card-details" }, summary, body);
  let read = false;
  details.addEventListener("toggle", async () => {
    if (!details.open || read) return;
    try {
      const { card } = await getJson(path(role, version));
      body.replaceChildren(...cardFacts(card));
      read = true;
    } catch (error) {
      body.replaceChildren(trouble(error));
    }
  });
  return details;
}
