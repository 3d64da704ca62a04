"use strict";
(() => {
  const search = document.getElementById("search");
  const kind = document.getElementById("kind");
  const found = document.getElementById("found");
  const items = [...document.querySelectorAll("#list > details")];
  const texts = new Map();
  const textOf = (item) => {
    if (!texts.has(item)) texts.set(item, item.textContent.toLowerCase());
    return texts.get(item);
  };
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = kind ? kind.value : "";
    let count = 0;
    for (const item of items) {
      const fits = (!wanted || item.dataset.kind === wanted) && words.every((word) => textOf(item).includes(word));
      item.hidden = !fits;
      count += fits ? 1 : 0;
    }
    found.textContent = count === items.length ? `${count} questions` : `${count} of ${items.length} questions`;
  };
  search.form.addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", show);
  if (kind) kind.addEventListener("change", show);
})();
