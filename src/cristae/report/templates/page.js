"use strict";
/* The magnifier: one box per slice, shown in every picture of that slice and enlarged below each. */
for (const slice of document.querySelectorAll(".slice")) {
  const width = Number(slice.dataset.width), height = Number(slice.dataset.height), side = Number(slice.dataset.side);
  const clamp = (value, size) => Math.min(Math.max(value, 0), Math.max(0, size - side));
  let held = false;

  const show = (x, y) => {
    const left = Math.round(clamp(x - side / 2, width)), top = Math.round(clamp(y - side / 2, height));
    for (const lens of slice.querySelectorAll(".lens")) { lens.setAttribute("x", left); lens.setAttribute("y", top); }
    for (const zoom of slice.querySelectorAll(".zoom")) zoom.setAttribute("viewBox", `${left} ${top} ${side} ${side}`);
  };
  const centre = () => {
    const lens = slice.querySelector(".lens");
    return [Number(lens.getAttribute("x")) + side / 2, Number(lens.getAttribute("y")) + side / 2];
  };
  const place = (view, event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(view.getScreenCTM().inverse());
    show(point.x, point.y);
  };
  const hold = (state) => { held = state; slice.classList.toggle("held", held); };

  for (const view of slice.querySelectorAll(".view")) {
    view.addEventListener("pointermove", (event) => {
      if (!held || event.buttons) place(view, event);
    });
    view.addEventListener("click", (event) => { place(view, event); hold(!held); });
    view.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.key === "Enter") hold(!held);
      if (!step) return;
      event.preventDefault();
      const [x, y] = centre(), stride = Math.max(1, side / 8);
      show(x + step[0] * stride, y + step[1] * stride);
    });
  }
}
for (const slider of document.querySelectorAll(".opacity")) {
  slider.addEventListener("input", () => document.documentElement.style.setProperty("--overlay", slider.value / 100));
}
/* A heading of a table sorts its rows; what has no value stays below. */
for (const grid of document.querySelectorAll(".sortable")) {
  const heads = [...grid.querySelectorAll("thead th")];
  const sort = (place) => {
    const body = grid.tBodies[0], key = (row) => row.cells[place].dataset.key;
    const text = (row) => row.cells[place].textContent.trim(), numeric = [...body.rows].some(key);
    const orders = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
    const order = orders[heads[place].getAttribute("aria-sort") === orders[0] ? 1 : 0];
    const sign = order === "ascending" ? 1 : -1;
    const compared = (a, b) => {
      if (!numeric) return sign * text(a).localeCompare(text(b), "en", { numeric: true });
      return key(a) && key(b) ? sign * (key(a) - key(b)) : Boolean(key(b)) - Boolean(key(a));
    };
    const rows = [...body.rows].sort(compared);
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[place].setAttribute("aria-sort", order);
    body.append(...rows);
  };
  heads.forEach((head, place) => {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(place));
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(place); }
    });
  });
}
