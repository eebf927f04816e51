// What waits to be stored: said on the page, tried again, and not left behind without a word.

import { Refusal } from "./fragment.js";
import { reviewOf, why } from "./lesions.js";
import { isKnown } from "./outbox.js";
import { $, boxes, byId, data, outbox, panel, reviews, say, state, toCanvas, viewer } from "./page.js";
import { rooted } from "./root.js";
import { boxItem, drawBoxes } from "./writing.js";

outbox.addEventListener("change", () => {
  const waiting = outbox.items.filter((item) => item.state !== "sending");
  $("#unsent").replaceChildren(...waiting.map((item) => {
    const note = $("#unsent-item").content.firstElementChild.cloneNode(true);
    $("[data-title]", note).textContent = item.title(isKnown(item.refusal));
    $("[data-text]", note).textContent = why(item.refusal);
    const [again, go, drop] = ["again", "go", "drop"].map((name) => $(`[data-${name}]`, note));
    again.hidden = item.state !== "failed";
    again.addEventListener("click", () => outbox.again(item.key));
    $("[data-sign-in]", note).hidden = item.refusal.status !== 401;
    go.textContent = item.go.text;
    go.addEventListener("click", () => { item.go.run(); toCanvas(); });
    drop.textContent = item.drop.text;
    drop.addEventListener("click", () => { item.drop.run(); toCanvas(); });
    return note;
  }));
  drawBoxes();
  const lesion = state.chosen?.lesion;
  const item = lesion && outbox.get(reviewOf(lesion.id));
  if (item?.state === "sending") panel.hold(`Saving ${item.words} …`);
});

/** Whether anything waited for another try. */
function triedAgain() {
  return [viewer.retry(), panel.again(), outbox.again() > 0].some(Boolean);
}

export function tryAgain() {
  if (state.stranger) { location.reload(); return; }
  say(triedAgain() ? "Trying again." : "Nothing waits to be tried again.");
}

window.addEventListener("signed-in", () => { if (!state.stranger) triedAgain(); });

// The panel, like a slice, comes back by itself; what is written waits for the person.
for (const [target, name] of [[window, "online"], [document, "visibilitychange"]]) {
  target.addEventListener(name, () => { if (!document.hidden && !state.stranger) panel.again(); });
}

// Boxes and drafts stay in this tab, so a link within it loses nothing; closing it would.
let leavingBy = null;
document.addEventListener("pointerdown", () => { leavingBy = null; }, true);
document.addEventListener("keydown", () => { leavingBy = null; }, true);
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || link.target || link.origin !== location.origin) return;
  if (!event.ctrlKey && !event.metaKey && !event.shiftKey) leavingBy = link;
});
window.addEventListener("pageshow", () => { leavingBy = null; });
window.addEventListener("beforeunload", (event) => {
  if (state.stranger) return;
  const drafted = reviews.size + boxes.size > 0 && leavingBy === null;
  if (outbox.items.some((item) => item.state !== "refused") || drafted) event.preventDefault();
});

/** What was left unsaved in other cases, which one would not see again otherwise. */
function drawElsewhere() {
  const there = [...reviews.all(), ...boxes.all()].filter(([, { case: id }]) => id !== data.case_id);
  $("#elsewhere").replaceChildren(...there.map(([id, draft]) => {
    const note = $("#elsewhere-item").content.firstElementChild.cloneNode(true);
    const isBox = boxes.has(id);
    $("[data-text]", note).textContent = isBox ? "A box drawn in another case is not marked." : "A lesion of another case is filled in and not saved.";
    $("[data-there]", note).href = rooted(`/cases/${draft.case}${isBox ? "" : `?lesion=${id}`}`);
    $("[data-forget]", note).addEventListener("click", () => { reviews.remove(id); boxes.remove(id); drawElsewhere(); toCanvas(); });
    return note;
  }));
}

drawElsewhere();
for (const [id, drawn] of boxes.all()) {
  if (drawn.case !== data.case_id || !byId.has(drawn.image)) continue;
  outbox.keep(boxItem(id), new Refusal(0, "Left", "the page was left before the server had answered, so it is not known whether this was stored."));
}
