// Dialogs, dismissable notes, forms that stay on their page, and who is signed in. On every page.

import { forgetDrafts } from "./drafts.js";
import "./menu.js";
import { ROOT, rooted } from "./root.js";
import "./signing.js";
import "./staying.js";

/** Open a <dialog> as a modal and give the focus back to where it was when it closes. */
export function openDialog(dialog) {
  const before = document.activeElement;
  dialog.showModal();
  dialog.addEventListener("close", () => before?.focus?.(), { once: true });
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.dialog);
    if (dialog && !dialog.open) openDialog(dialog);
    return;
  }
  const dismiss = event.target.closest("[data-dismiss]");
  if (dismiss) {
    dismiss.closest(dismiss.dataset.dismiss || ".flash")?.remove();
    return;
  }
  // A click on the backdrop lands on the dialog itself.
  if (event.target instanceof HTMLDialogElement) {
    const r = event.target.getBoundingClientRect();
    const inside = event.clientX >= r.left && event.clientX <= r.right
      && event.clientY >= r.top && event.clientY <= r.bottom;
    if (!inside) event.target.close();
  }
});

document.addEventListener("input", (event) => {
  const { word } = event.target.dataset;
  if (word === undefined) return;
  event.target.setCustomValidity(event.target.value.trim() === word ? "" : `Type ${word} exactly.`);
});

// ---- who is signed in -----------------------------------------------------------------------

const person = document.body.dataset.person ?? null;
const news = "BroadcastChannel" in window ? new BroadcastChannel(`hepatica-person${ROOT}`) : null;

/** Call back when a page of this browser, in another tab, shows that somebody else is signed in. */
export function onOtherPerson(own, back) {
  news?.addEventListener("message", ({ data }) => { if (data.person && data.person !== own) back(); });
}

if (person) {
  forgetDrafts({ butOf: person });
  news?.postMessage({ person });
}
news?.addEventListener("message", ({ data }) => { if (data.signedOut) forgetDrafts(); });

let signingOut = false;
document.addEventListener("submit", (event) => {
  signingOut = event.target.getAttribute("action") === rooted("/sessions/deletion");
});
document.addEventListener("pointerdown", () => { signingOut = false; }, true);
window.addEventListener("pagehide", () => {
  if (!signingOut) return;
  forgetDrafts();
  news?.postMessage({ signedOut: true });
});
