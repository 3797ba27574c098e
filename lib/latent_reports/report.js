// A click on a column's head sorts its table: numbers by value, what holds none behind them, text by the alphabet.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const text = (row) => row.cells[column].textContent.trim();
      const number = (row) => parseFloat(text(row).replace(/[≈+,\s]/g, ""));
      const rows = [...body.rows].map((row) => ({ row, text: text(row), number: number(row) }));
      rows.sort((a, b) => {
        if (isNaN(a.number) !== isNaN(b.number)) return isNaN(a.number) ? 1 : -1;
        const order = isNaN(a.number) ? a.text.localeCompare(b.text) : a.number - b.number;
        return up ? order : -order;
      });
      body.append(...rows.map(({ row }) => row));
    });
  });
}
