// Uploads: each has a line that shows the progress of sending and of its job.

import { getJson } from "./api.js";
import { announce, el, plural } from "./dom.js";
import { trouble } from "./trouble.js";

const POLL = 700; // milliseconds between two requests for a running job's progress
const STATES = { queued: "Waiting", running: "Reading", done: "Done", failed: "Failed" };

/** The list of uploads. `changed` is called when an upload has ended. */
export function uploads(changed) {
  const known = new Set(); // jobs that have a line already
  const element = el("ul", { class: "jobs", "aria-label": "Uploads" });

  async function send(files) {
    if (!files.length) return;
    const form = new FormData();
    for (const file of files) form.append("file", file);
    const line = jobLine([...files].map((file) => file.name));
    element.prepend(line.element);
    try {
      const { job } = await getJson("v1/documents", { method: "POST", body: form });
      await follow(job, line);
    } catch (error) {
      line.fail(error);
    }
    changed();
  }

  /** Shows jobs that were started elsewhere, or before the page was reloaded. */
  async function resume() {
    const { jobs } = await getJson("v1/jobs");
    for (const job of jobs.filter(({ id, state }) => !known.has(id) && (state === "queued" || state === "running"))) {
      const line = jobLine(job.files);
      element.append(line.element);
      follow(job, line).catch(line.fail).then(changed);
    }
  }

  async function follow(job, line) {
    known.add(job.id);
    for (let at = job; ; at = await getJson(`v1/jobs/${encodeURIComponent(job.id)}`)) {
      line.show(at);
      if (at.state === "done" || at.state === "failed") return;
      await new Promise((resolve) => window.setTimeout(resolve, POLL));
    }
  }

  return { element, send, resume };
}

function jobLine(files) {
  const name = files.length === 1 ? files[0] : plural(files.length, "file");
  const bar = el("progress", { "aria-label": `Progress of ${name}` });
  const state = el("span", { class: "soft" }, "Sending");
  const head = el("div", { class: "job-line" }, el("strong", { class: "path" }, name), state);
  const element = el("li", { class: "job" }, head, bar);
  const fail = (error) => {
    state.textContent = STATES.failed;
    bar.replaceWith(trouble(error));
  };
  return {
    element,
    fail,
    show({ state: at, done, total, message, error }) {
      if (at === "failed") {
        fail(new Error([error, message].filter(Boolean).join(" · ")));
        return;
      }
      const progress = at === "running" && total ? `${done} of ${plural(total, "passage")}` : "";
      state.textContent = [STATES[at], progress, message === name ? "" : message].filter(Boolean).join(" · ");
      if (total) {
        bar.max = total;
        bar.value = done;
      }
      if (at === "done") {
        element.classList.add("done");
        bar.remove();
        announce(`${name} added.`);
      }
    },
  };
}
