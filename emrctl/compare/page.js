"use strict";
// Values of marks on hover, touch and arrow keys. Without this script browsers show the titles.
const tip = document.getElementById("tip");
let current = null;

function show(mark, x, y) {
  if (current) current.classList.remove("at");
  current = mark;
  tip.textContent = mark ? mark.dataset.tip : "";
  if (!mark) return;
  mark.classList.add("at");
  const box = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, x + 14), window.innerWidth - box.width - 8);
  const top = y + 18 + box.height > window.innerHeight ? y - box.height - 12 : y + 18;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

function showAt(mark) {
  mark.scrollIntoView({ block: "nearest" });
  const box = mark.getBoundingClientRect();
  show(mark, Math.min(box.right, box.left + 40), box.bottom - 14);
}

for (const chart of document.querySelectorAll("figure svg")) {
  chart.querySelectorAll("title").forEach((title) => title.remove());
  const marks = [...chart.querySelectorAll("[data-tip]")];
  const step = (to) => showAt(marks[(to + marks.length) % marks.length]);
  chart.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("[data-tip]");
    show(mark, event.clientX, event.clientY);
  });
  // A finger that is lifted leaves, too.
  chart.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(null));
  chart.addEventListener("blur", () => show(null));
  chart.addEventListener("keydown", (event) => {
    if (!marks.length) return;
    const at = marks.indexOf(current);
    if (event.key === "ArrowRight" || event.key === "ArrowDown") step(at + 1);
    else if (event.key === "ArrowLeft" || event.key === "ArrowUp") step(at < 0 ? -1 : at - 1);
    else if (event.key === "Home") step(0);
    else if (event.key === "End") step(-1);
    else if (event.key === "Escape") show(null);
    else return;
    event.preventDefault();
  });
}
document.addEventListener("pointerdown", (event) => event.target.closest("[data-tip]") || show(null));
window.addEventListener("scroll", () => {
  if (current && document.activeElement !== current.ownerSVGElement) show(null);
}, { passive: true });

// Paper has no buttons: print what is folded.
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((details) => { details.open = true; });
});
window.addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
