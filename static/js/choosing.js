// Choosing cases in the work list: all of a page at once, how many are chosen, and nothing to be done with
// none. The list may be put in anew under the page (an upload), so nothing is held.

const list = () => document.getElementById("worklist");
const boxes = () => [...(list()?.querySelectorAll("input[name=case]") ?? [])];

/** gone: how many that were chosen are not on this page any more. */
function tell({ gone = 0 } = {}) {
  const all = boxes();
  const chosen = all.filter((box) => box.checked).length;
  const every = list()?.querySelector("[data-choose-all]");
  if (every) {
    every.checked = chosen > 0 && chosen === all.length;
    every.indeterminate = chosen > 0 && chosen < all.length;
  }
  const count = list()?.querySelector("[data-chosen-count]");
  if (count) {
    const left = gone ? ` ${gone} that ${gone === 1 ? "was" : "were"} chosen ${gone === 1 ? "is" : "are"} not on this page any more.` : "";
    count.textContent = `${chosen ? `${chosen} chosen` : "Tick cases first."}${left && chosen ? "." : ""}${left}`;
  }
  list()?.querySelector("[data-chosen]")?.setAttribute("aria-disabled", String(chosen === 0));
  for (const box of all) box.closest("tr").classList.toggle("is-selected", box.checked);
}

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-choose-all]")) for (const box of boxes()) box.checked = target.checked;
  if (target.matches("[data-choose-all], input[name=case]")) tell();
});
document.addEventListener("submit", (event) => {
  if (event.target.id === "chosen" && boxes().every((box) => !box.checked)) event.preventDefault();
});
document.addEventListener("worklist:new", ({ detail }) => tell(detail));
window.addEventListener("pageshow", () => tell()); // the browser may keep what was ticked
