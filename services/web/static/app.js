// The whole page: the view that is shown, and whether the server is ready.

import { adaptersView } from "./adapters.js";
import { call } from "./api.js";
import { askView } from "./ask.js";
import { documentsView } from "./documents.js";
import { byId } from "./dom.js";
import { askForKey, startKey } from "./key.js";
import { reportView } from "./report.js";

const READY_EVERY = 3000; // milliseconds between two checks of a server that is not ready

const views = {
  ask: askView(byId("ask")),
  documents: documentsView(byId("documents")),
  adapters: adaptersView(byId("adapters")),
  report: reportView(byId("report")),
};

/** Shows the view in the address. `moveFocus`: the user navigated, so the focus moves to the view. */
function show(moveFocus) {
  const wanted = location.hash.slice(1);
  const name = Object.hasOwn(views, wanted) ? wanted : "ask";
  for (const each of Object.keys(views)) byId(each).hidden = each !== name;
  for (const link of byId("views").children) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const heading = byId(`${name}-title`);
  document.title = `${heading.textContent} · LoRAG`;
  window.scrollTo(0, 0);
  if (moveFocus) heading.focus({ preventScroll: true });
  views[name].show();
}

/** Shows a notice while the server is unreachable or loading, and hides it when the server is ready. */
async function watch() {
  const box = byId("condition");
  const text = await call("readyz").then(
    () => "",
    (error) => error.message,
  );
  if (box.textContent !== text) box.textContent = text;
  box.hidden = !text;
  if (text) window.setTimeout(watch, READY_EVERY);
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names a view, not a place in it
  byId("main").focus();
});
window.addEventListener("hashchange", () => show(true));
window.addEventListener("offline", watch);
document.addEventListener("keychange", () => show(false));
startKey();
show(false);
watch();
call("v1/models").catch((error) => {
  if (error.status === 401) askForKey(error.message);
});
