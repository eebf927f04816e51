// Choosing cases in the work list: all of a page at once, and how many are chosen. The list may be put in anew
// under the page (an upload), so nothing is held.

const list = () => document.getElementById("worklist");
const boxes = () => [...(list()?.querySelectorAll("input[name=case]") ?? [])];

function tell() {
  const all = boxes();
  const chosen = all.filter((box) => box.checked).length;
  const every = list()?.querySelector("[data-choose-all]");
  if (every) {
    every.checked = chosen > 0 && chosen === all.length;
    every.indeterminate = chosen > 0 && chosen < all.length;
  }
  const count = list()?.querySelector("[data-chosen-count]");
  if (count) count.textContent = chosen ? `${chosen} chosen` : "";
  for (const box of all) box.closest("tr").classList.toggle("is-selected", box.checked);
}

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-choose-all]")) for (const box of boxes()) box.checked = target.checked;
  if (target.matches("[data-choose-all], input[name=case]")) tell();
});
window.addEventListener("pageshow", tell); // the browser may keep what was ticked
