"use strict";
(() => {
  const list = document.getElementById("list");
  const search = document.getElementById("search");
  const kind = document.getElementById("kind");
  const found = document.getElementById("found");
  const items = [...list.children];
  const byWorst = [...items].sort((a, b) => (Number(a.dataset.worst) || Infinity) - (Number(b.dataset.worst) || Infinity));
  const texts = new Map();
  const textOf = (item) => {
    if (!texts.has(item)) texts.set(item, item.textContent.toLowerCase());
    return texts.get(item);
  };
  const chosen = (item, wanted) => {
    if (!wanted) return true;
    if (wanted === "worst") return "worst" in item.dataset;
    return wanted.startsWith("loss:") ? item.dataset.loss === wanted.slice(5) : item.dataset.kind === wanted;
  };
  let worstFirst = false;
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = kind ? kind.value : "";
    if ((wanted === "worst") !== worstFirst) {
      worstFirst = !worstFirst;
      list.append(...(worstFirst ? byWorst : items));
    }
    let count = 0;
    for (const item of items) {
      const fits = chosen(item, wanted) && words.every((word) => textOf(item).includes(word));
      item.hidden = !fits;
      count += fits ? 1 : 0;
    }
    found.textContent = count === items.length ? `${count} questions` : `${count} of ${items.length} questions`;
  };
  search.form.addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", show);
  if (kind) kind.addEventListener("change", show);
  show();
})();
