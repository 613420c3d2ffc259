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
/* Every chart can be kept as a file, with the colours of paper. */
for (const chart of document.querySelectorAll(".chart[data-name]")) {
  const drawing = chart.querySelector("svg"), bar = document.createElement("div");
  bar.className = "files";
  const source = () => {
    const copy = drawing.cloneNode(true);
    copy.setAttribute("style", 'font-family: "DejaVu Sans", Arial, sans-serif; background: #fff');
    return new XMLSerializer().serializeToString(copy).replace(/var\(--[a-z]+, (#[0-9a-f]{6})\)/g, "$1");
  };
  const save = (content, kind) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content);
    link.download = `${chart.dataset.name}.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const saveSvg = () => save(new Blob([source()], { type: "image/svg+xml" }), "svg");
  const savePng = () => {
    const picture = new Image(), [, , width, height] = drawing.getAttribute("viewBox").split(" ").map(Number);
    picture.onload = () => {
      const canvas = document.createElement("canvas"), scale = 300 / 72;
      [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
      const paint = canvas.getContext("2d");
      paint.fillStyle = "#fff";
      paint.fillRect(0, 0, canvas.width, canvas.height);
      paint.drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((content) => save(content, "png"));
    };
    picture.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(source());
  };
  for (const [kind, action] of [["SVG", saveSvg], ["PNG", savePng]]) {
    const button = document.createElement("button");
    [button.type, button.textContent] = ["button", kind];
    button.setAttribute("aria-label", `Save ${drawing.getAttribute("aria-label")} as ${kind}`);
    button.addEventListener("click", action);
    bar.append(button);
  }
  chart.append(bar);
}
