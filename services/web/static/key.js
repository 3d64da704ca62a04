// The dialog to enter or remove an API key. A change dispatches the event `keychange` on the document.

import { key } from "./api.js";
import { byId } from "./dom.js";

/** Opens the dialog. `reason` is the server's message, if the server requires a key. */
export function askForKey(reason = "") {
  const dialog = byId("key-dialog");
  byId("key-reason").textContent = reason;
  byId("key-field").value = "";
  byId("key-forget").hidden = !key.get();
  dialog.showModal();
  byId("key-field").focus();
}

/** Connects the button and the dialog. */
export function startKey() {
  byId("key-button").addEventListener("click", () => askForKey());
  // Not at the dialog's `close`, which fires some time after it is hidden: a question in between would be sent without the key.
  byId("key-form").addEventListener("submit", (event) => take(event.submitter.value));
  // Enter in the field means "use", whichever button comes first in the dialog.
  byId("key-field").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    byId("key-form").requestSubmit(byId("key-use"));
  });
  show();
}

function take(choice) {
  const text = byId("key-field").value.trim();
  byId("key-field").value = "";
  if (choice === "use" && text) key.set(text);
  else if (choice === "forget") key.forget();
  else return;
  show();
  document.dispatchEvent(new Event("keychange"));
}

function show() {
  byId("key-button").textContent = key.get() ? "API key ✓" : "API key";
  byId("key-button").setAttribute("aria-label", key.get() ? "API key: one is set" : "API key: none is set");
}
