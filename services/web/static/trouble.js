// An error in a box that a screen reader reads at once, with buttons for what the user can do.

import { button, el } from "./dom.js";
import { askForKey } from "./key.js";

/** `error` is an ApiError, or an Error with a message for users. The button `label` calls `again`. */
export function trouble(error, again = null, label = "Try again") {
  const actions = [
    error.needsKey ? button("Enter a key", () => askForKey(error.message)) : null,
    again ? button(label, again) : null,
  ].filter(Boolean);
  return el(
    "div",
    { class: "trouble", role: "alert" },
    el("p", {}, error.message),
    actions.length ? el("div", { class: "row" }, actions) : null,
  );
}
