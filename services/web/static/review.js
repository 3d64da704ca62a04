// The page of `lorag data review --web`: rows one by one, a verdict on each, and at the end how far the filters were right.

import { getJson, pathOf } from "./api.js";
import { announce, button, byId, el, plural } from "./dom.js";
import { row } from "./review_row.js";
import { trouble } from "./trouble.js";

const PLACE = "lorag.review"; // {folder, rows, at}: what this tab reads, kept over a reload
const SAID = { keep: "Kept.", drop: "Dropped.", correct: "Corrected." };

const place = {
  get: () => JSON.parse(sessionStorage.getItem(PLACE) ?? "null"),
  set: (value) => sessionStorage.setItem(PLACE, JSON.stringify(value)),
};

const title = el("h1", { id: "review-title", tabindex: -1 });
const problem = el("div");
const body = el("div", { class: "review" });
let folder = ""; // which one the server reads
let rows = []; // ids of those that are being read
let at = 0;
let shown = null; // the row on the page
let busy = false;

/** Does one thing at a time; shows why it failed, with a button that tries again. */
async function reach(work) {
  if (busy) return;
  busy = true;
  try {
    await work();
    problem.replaceChildren();
  } catch (error) {
    problem.replaceChildren(trouble(error, () => reach(work)));
  } finally {
    busy = false;
  }
}

/** Goes on where this tab was, or begins. */
async function open() {
  const overview = await getJson("v1/review");
  folder = overview.id;
  byId("folder").textContent = overview.name;
  const last = place.get();
  if (last?.folder !== folder || last.at >= last.rows.length) return begin(overview);
  try {
    await move(last.rows, last.at);
  } catch (error) {
    if (error.status !== 404) throw error;
    begin(overview); // the folder was made anew
  }
}

function begin({ read, unread, counts }) {
  shown = null;
  title.textContent = "Review made rows";
  const lead = unread
    ? "Read questions that were made from your documents. What you keep or correct becomes the honest test."
    : "Every made test row was read already.";
  body.replaceChildren(
    el("p", { class: "lead" }, lead),
    el("p", { class: "soft" }, `${plural(read, "row")} read, ${unread.toLocaleString("en")} not yet. Each verdict is kept at once.`),
    unread ? choices(counts) : "",
    read ? button("How far do I agree with the filters?", () => reach(() => end()), { class: "quiet" }) : "",
  );
}

/** How many rows to read. */
function choices(counts) {
  const buttons = counts.map((count) => button(`Read ${count}`, () => reach(() => draw(count)), { class: count === counts[0] && "primary" }));
  return el("div", { class: "row", role: "group", "aria-label": "Rows to read" }, buttons);
}

async function draw(count) {
  const batch = await getJson("v1/review/batches", { method: "POST", json: { rows: count } });
  await move(batch.rows, 0);
}

/** Goes to a row or to the end. Where that fails, the page stays where it was. */
async function move(list, to) {
  const item = to < list.length ? await getJson(`v1/review/items/${pathOf(list[to])}`) : null;
  if (!item) await end();
  [rows, at] = [list, to];
  place.set({ folder, rows, at });
  if (item) show(item);
}

const go = (to) => reach(() => move(rows, to));

/** All buttons speak of the row that is shown, whatever happens meanwhile. */
function show(item) {
  const here = at;
  shown = row(
    item,
    { number: here + 1, total: rows.length, first: here === 0 },
    {
      say: (verdict, words) => say(item.id, here + 1, verdict, words),
      skip: () => go(here + 1),
      back: () => go(here - 1),
      end: () => reach(() => end(here)),
    },
  );
  title.textContent = "Is this a sound row?";
  body.replaceChildren(shown.element);
  window.scrollTo(0, 0);
  shown.focus();
}

/** Keeps a verdict and goes on. */
function say(id, next, verdict, words = {}) {
  return reach(async () => {
    await getJson("v1/review/verdicts", { method: "POST", json: { id, verdict, ...words } });
    announce(SAID[verdict]);
    await move(rows, next);
  });
}

/** The agreement with each filter, in the server's words, and how to go on: with row `resume`, if some are left, or other rows. */
async function end(resume = null) {
  const [{ filters }, overview] = await Promise.all([getJson("v1/review/agreement"), getJson("v1/review")]);
  shown = null;
  title.textContent = "You and the filters";
  const lines = filters.map(({ text, weak }) => el("li", { class: weak && "weak" }, text));
  body.replaceChildren(
    lines.length ? el("ul", { class: "agreement" }, lines) : el("p", { class: "soft" }, "Nothing was read yet."),
    el("p", { class: "soft" }, `${plural(overview.read, "row")} read in all, ${overview.unread.toLocaleString("en")} not yet.`),
    resume === null ? "" : el("div", { class: "row" }, button("Go on reading", () => go(resume), { class: "primary" })),
    resume === null && overview.unread ? choices(overview.counts) : "",
  );
  window.scrollTo(0, 0);
  title.focus();
}

/** A single key is a verdict, unless the user types, holds it down or has switched the keys off. */
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest("input, textarea, select")) return;
  if (shown?.press(event.key.toLowerCase())) event.preventDefault();
});

byId("review").append(title, problem, body);
reach(open);
