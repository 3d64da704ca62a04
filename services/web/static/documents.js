// The indexed documents: listed page by page, added as a background job, deleted after a confirmation.

import { call, getJson, pathOf } from "./api.js";
import { announce, button, confirmed, el, plural } from "./dom.js";
import { trouble } from "./trouble.js";
import { uploads } from "./uploads.js";

const PAGE = 50; // documents listed at a time
const KINDS = "Or drop them here. Text, Markdown, HTML, PDF or JSON Lines; a file of the same name is replaced.";

/** Builds the view in `root`. */
export function documentsView(root) {
  const heading = el("h1", { id: "documents-title", tabindex: -1 }, "Documents");
  const coming = uploads(() => load(0));
  const state = el("div");
  const count = el("p", { class: "soft", role: "status" });
  const rows = el("tbody");
  const table = documentTable(rows);
  const more = button("Show more", () => load(rows.children.length), { hidden: true });
  root.append(el("div", { class: "view-head" }, heading), dropZone(coming.send), coming.element, state, count, table, more);

  async function load(offset) {
    try {
      const { documents, total } = await getJson(`v1/documents?offset=${offset}&limit=${PAGE}`);
      if (offset === 0) rows.replaceChildren();
      rows.append(...documents.map((each) => documentRow(each, remove)));
      state.replaceChildren();
      table.hidden = total === 0;
      count.textContent = total ? plural(total, "document") : "No documents yet.";
      more.hidden = rows.children.length >= total;
    } catch (error) {
      state.replaceChildren(trouble(error, () => load(offset)));
    }
  }

  async function remove(source) {
    const text = `${source} and its passages leave the index. Answers can no longer rest on it.`;
    if (!(await confirmed("Delete this document?", text, "Delete"))) return;
    try {
      await call(`v1/documents/${pathOf(source)}`, { method: "DELETE" });
      announce(`${source} deleted.`);
      await load(0);
      heading.focus({ preventScroll: true });
    } catch (error) {
      state.replaceChildren(trouble(error));
    }
  }

  return {
    show() {
      load(0);
      coming.resume().catch(() => {}); // the list shows the error
    },
  };
}

/** The area to choose or drop files, which go to `send`. */
function dropZone(send) {
  const input = el("input", { type: "file", id: "files", class: "unseen", multiple: true, "aria-describedby": "files-note" });
  const zone = el(
    "div",
    { class: "drop" },
    input,
    el("label", { for: "files", class: "button" }, "Choose files to add"),
    el("p", { class: "soft small", id: "files-note" }, KINDS),
  );
  input.addEventListener("change", () => {
    send([...input.files]);
    input.value = "";
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    send([...event.dataTransfer.files]);
  });
  return zone;
}

function documentTable(rows) {
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, "Document"),
    el("th", { scope: "col", class: "figure" }, "Passages"),
    el("th", { scope: "col" }, el("span", { class: "unseen" }, "Delete")),
  );
  return el("table", { class: "list" }, el("caption", { class: "unseen" }, "Documents"), el("thead", {}, head), rows);
}

/** Only uploads can be deleted here; other files are in the project's own folder. */
function documentRow({ source, title, passages, uploaded }, remove) {
  const about = title === source ? null : el("span", { class: "soft small title" }, title);
  const last = uploaded
    ? button("Delete", () => remove(source), { class: "quiet", "aria-label": `Delete ${source}` })
    : el("span", { class: "soft small" }, "project folder");
  return el(
    "tr",
    {},
    el("th", { scope: "row", class: "path" }, source, about),
    el("td", { class: "figure" }, String(passages), el("span", { class: "unit" }, passages === 1 ? " passage" : " passages")),
    el("td", { class: "figure" }, last),
  );
}
