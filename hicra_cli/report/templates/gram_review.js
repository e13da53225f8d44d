"use strict";
(() => {
  document.documentElement.classList.add("scripted");
  for (const table of document.querySelectorAll("table.sortable")) {
    const buttons = [...table.querySelectorAll("thead button")];
    buttons.forEach((button) => button.addEventListener("click", () => sort(table, button)));
  }
  for (const input of document.querySelectorAll("input[data-search]")) {
    input.addEventListener("input", () => search(input));
  }
  function sort(table, button) {
    const head = button.closest("th");
    const column = [...head.parentNode.children].indexOf(head);
    const isNumber = head.classList.contains("n");
    const before = head.getAttribute("aria-sort");
    const falling = before ? before === "ascending" : isNumber;
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const key = (row) => row.children[column].dataset.key || "";
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({ row, place, key: key(row) }));
    rows.sort((one, other) => {
      if (!one.key !== !other.key) return one.key ? -1 : 1;
      const order = isNumber ? one.key - other.key : one.key.localeCompare(other.key, "en");
      return (falling ? -order : order) || one.place - other.place;
    });
    body.append(...rows.map((each) => each.row));
  }
  function search(input) {
    const wanted = input.value.toLowerCase().split(/\s+/).join(" ").trim();
    for (const row of document.getElementById(input.dataset.search).tBodies[0].rows) {
      row.hidden = wanted !== "" && !row.children[0].dataset.key.includes(wanted);
    }
  }
})();
