// Builds elements from text alone: nothing from the server is ever parsed as markup.

/** `el("p", {class: "soft", onclick: f}, "text", child)`. Null, undefined and false are left out, of attributes too. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

const SAID = 10_000; // milliseconds after which an announcement is removed

/** Announces `text` to a screen reader after its current speech, without moving the focus. */
export function announce(text) {
  const line = el("p", {}, text);
  byId("announcer").append(line);
  window.setTimeout(() => line.remove(), SAID);
}

export const button = (text, act, attributes = {}) => el("button", { type: "button", onclick: act, ...attributes }, text);

/** A list of names and values under a heading with the tag `tag`. Empty values are left out. */
export function facts(tag, title, values) {
  const rows = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined);
  const list = rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]);
  return el("div", {}, el(tag, {}, title), el("dl", { class: "facts" }, list));
}

/** Asks for confirmation of an action that cannot be undone. Resolves to true if the user confirms. */
export function confirmed(title, text, yes) {
  const dialog = byId("confirm-dialog");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export const percent = (share) => `${Math.round(share * 100)} %`;

export const seconds = (value) => (value < 0.1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(value < 10 ? 1 : 0)} s`);

/** "2026-01-31T12:00:00Z" → date and time in the user's format. Other text stays unchanged. */
export function moment(text) {
  const date = new Date(text);
  return Number.isNaN(date.valueOf()) ? String(text) : date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}
