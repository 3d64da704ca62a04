// The newest evaluation report, in a frame that cannot run scripts or load anything.

import { call } from "./api.js";
import { el } from "./dom.js";
import { trouble } from "./trouble.js";

const INLINE = /<(style|script)\b[^>]*>([\s\S]*?)<\/\1>/gi;

/** Builds the view in `root`. */
export function reportView(root) {
  let address = ""; // of the report's blob
  const body = el("div", { class: "report" });
  const save = el("a", { class: "button", download: "report.html", hidden: true }, "Download");
  root.append(el("div", { class: "view-head" }, el("h1", { id: "report-title", tabindex: -1 }, "Evaluation report"), save), body);

  async function load() {
    save.hidden = true;
    try {
      const html = await (await call("v1/report")).text();
      URL.revokeObjectURL(address);
      address = blobOf(html);
      save.href = address;
      save.hidden = false;
      body.replaceChildren(frame(html));
    } catch (error) {
      body.replaceChildren(error.status === 404 ? none() : trouble(error, load));
    }
  }

  return { show: load };
}

const blobOf = (html) => URL.createObjectURL(new Blob([html], { type: "text/html" }));

function none() {
  return el("p", { class: "soft" }, "No report yet. ", el("code", {}, "lorag eval ablation"), " makes one.");
}

/**
 * The report in a sandbox without scripts, forms or popups. The frame inherits this page's policy, which also refuses inline
 * styles, so this page moves them into style sheets. `allow-same-origin` is needed for that.
 */
function frame(html) {
  const styles = [];
  const bare = html.replace(INLINE, (_, kind, text) => {
    if (kind.toLowerCase() === "style") styles.push(text);
    return "";
  });
  const address = blobOf(bare);
  const element = el("iframe", { src: address, sandbox: "allow-same-origin", title: "Evaluation report", class: "report-frame" });
  element.addEventListener("load", () => {
    const { contentDocument: page, contentWindow: view } = element;
    if (!page) return;
    URL.revokeObjectURL(address);
    // The report's search needs its script, which works in the downloaded file.
    page.adoptedStyleSheets = [...styles, ".tools { display: none; }"].map((text) => {
      const sheet = new view.CSSStyleSheet();
      sheet.replaceSync(text);
      return sheet;
    });
  });
  return element;
}
