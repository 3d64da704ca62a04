// The adapter of each stage for the next question, in one setting or in two that are compared.

import { getJson } from "./api.js";
import { el } from "./dom.js";

const ROLES = { rewriter: "Rewriter", embedder: "Embedder", synthesizer: "Synthesizer", judge: "Judge" };
const ALIASES = ["production", "candidate", "previous"];
const CHOICES = ["", ...ALIASES, "none"];
const BARE = { rewriter: "none", synthesizer: "none", judge: "none" };
const NOTE = "Which adapter each stage uses from the next question on; none is the bare base.";

const word = (choice) => choice || "default";

/** The panel of switches. `settings()` returns one or two `{name, adapters, words}`; `words` is null if there is only one. */
export function stagePanel() {
  // Another embedder needs an index of its own, which may not exist, so side B begins with the embedder of side A.
  const sides = { a: side("a", {}), b: side("b", BARE) };
  const both = el("div", { class: "sides" }, sides.a.element, sides.b.element);
  const compare = toggle("Compare two settings", "Every question is asked of both.");
  const trace = toggle("Keep prompts and replies", "Shown under “How it was made”.");
  const brief = el("span", { class: "soft small" });
  const panel = el(
    "details",
    { class: "panel" },
    el("summary", {}, el("h2", { id: "stages-title" }, "Adapters"), brief),
    el("p", { class: "soft small" }, NOTE),
    both,
    compare.element,
    trace.element,
  );
  foldWhereNarrow(panel);

  const show = () => {
    const two = compare.input.checked;
    sides.a.legend.textContent = two ? "Setting A" : "Stages";
    sides.b.element.hidden = !two;
    both.classList.toggle("two", two);
    brief.textContent = two ? "two settings" : sides.a.words();
  };
  panel.addEventListener("change", show);
  show();

  return {
    element: el("aside", { class: "stages", "aria-labelledby": "stages-title" }, panel),
    tracing: () => trace.input.checked,
    settings() {
      if (!compare.input.checked) return [{ name: "a", adapters: sides.a.adapters(), words: null }];
      return Object.entries(sides).map(([name, each]) => ({ name, adapters: each.adapters(), words: each.words() }));
    },
    /** Reads the aliases that exist, and disables the others. If the request fails, every choice stays enabled. */
    async refresh() {
      const found = await getJson("v1/adapters").catch(() => null);
      for (const { role, aliases } of found?.roles ?? []) Object.values(sides).forEach((each) => each.limit(role, aliases));
    },
  };
}

function foldWhereNarrow(panel) {
  const narrow = window.matchMedia("(max-width: 62rem)");
  const fold = () => {
    panel.open = !narrow.matches;
  };
  narrow.addEventListener("change", fold);
  fold();
}

function side(name, chosen) {
  const legend = el("legend", {}, `Setting ${name.toUpperCase()}`);
  const selects = new Map(Object.keys(ROLES).map((role) => [role, choice(`${role}-${name}`, chosen[role] ?? "")]));
  const labels = Object.entries(ROLES).map(([role, text]) => el("label", { for: `${role}-${name}` }, text, selects.get(role)));
  const picked = () => [...selects].map(([role, select]) => [role, select.value]).filter(([, value]) => value);
  return {
    legend,
    element: el("fieldset", {}, legend, labels),
    adapters: () => Object.fromEntries(picked()),
    words() {
      const values = new Set([...selects.values()].map((select) => select.value));
      if (values.size === 1) return `all ${word([...values][0])}`;
      return picked()
        .map((pair) => pair.join(" "))
        .join(", ");
    },
    /** Disables aliases that a role does not have. A current choice stays, and the server rejects it if it is wrong. */
    limit(role, aliases) {
      for (const option of selects.get(role)?.options ?? []) {
        const missing = ALIASES.includes(option.value) && !(option.value in aliases);
        option.disabled = missing && !option.selected;
        option.textContent = word(option.value) + (missing ? " – there is none" : "");
      }
    },
  };
}

function choice(id, value) {
  const select = el(
    "select",
    { id },
    CHOICES.map((each) => el("option", { value: each }, word(each))),
  );
  select.value = value;
  return select;
}

function toggle(text, note) {
  const input = el("input", { type: "checkbox", role: "switch" });
  return { input, element: el("label", { class: "switch" }, input, el("span", {}, text, el("small", {}, note))) };
}
