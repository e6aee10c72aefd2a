// The table of scores, sorted by a click on a head.

function sortBy(head) {
  const place = [...head.parentElement.children].indexOf(head);
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const body = head.closest("table").tBodies[0];
  const keyOf = (row) => row.cells[place].dataset.value ?? row.cells[place].textContent;
  const rows = [...body.rows].sort((one, other) => {
    const [a, b] = [keyOf(one), keyOf(other)];
    if (a === "" || b === "") return (a === "") - (b === ""); // the undefined are last, always
    const numeric = Number.isFinite(Number(a)) && Number.isFinite(Number(b));
    const order = numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
    return up ? order : -order;
  });
  body.append(...rows);
}
