// What the case page writes: boxes, reviews, withdrawals. Each is bound to one lesion from its first
// moment, goes through the outbox, and is let go when the server has it.

import { request } from "./fragment.js";
import { choose, drawLesions, goTo, isChosen, lesionOf, otherPerson, reviewOf, showPanel, stopReading, takeIn, takeOut, withdrawnElsewhere } from "./lesions.js";
import { uuid } from "./outbox.js";
import { $, begun, boxes, byId, data, outbox, page, panel, refuse, reviews, say, state, tell, toCanvas, undo, viewer } from "./page.js";
import { filledIn } from "./panel.js";
import { rooted } from "./root.js";
import { address, open, whereOf } from "./slices.js";

/** A write without an answer may have been stored all the same. */
const isNot = (known) => (known ? "is not" : "may not be");

// ---- boxes ----------------------------------------------------------------------------------

export function drawBoxes() {
  viewer.setPending(boxes.all().map(([id, { image, box, shape }]) => ({
    image_id: image, box, shape, words: outbox.isSending(`box:${id}`) ? "marking …" : "not marked yet",
  })));
}

/**
 * Send a drawn box; the lesion gets the id that is made here, so that it is marked once. replaces: the
 * lesion whose box it is from now on. isBack: it takes back what was done, and is not taken back itself.
 */
function mark(image, { box, shape }, { replaces = null, isBack = false } = {}) {
  if (state.stranger) return;
  const id = uuid();
  const old = replaces && { id: replaces.id, number: replaces.number, box: replaces.box, shape: replaces.shape };
  boxes.set(id, { case: data.case_id, image: image.id, box, shape, replaces: old, isBack });
  viewer.setTool("window");
  tell("");
  // What is typed from now on is meant for this box, not for the lesion whose panel was here.
  stopReading();
  state.chosen = { box: id };
  viewer.select(null);
  panel.loading(`New lesion, slice ${image.number}`, "Marking … The keys of the review wait until it is marked.");
  drawLesions();
  outbox.put(boxItem(id));
  drawBoxes();
}

export function boxItem(id) {
  const { image: imageId, box: [x, y, width, height], shape = "box", replaces, isBack } = boxes.get(id);
  const image = byId.get(imageId);
  const what = replaces ? `The new box of lesion ${replaces.number}` : "The box";
  const body = new URLSearchParams({ x, y, width, height, shape, lesion: id, person: data.person.id });
  if (replaces) body.set("replaces", replaces.id);
  const step = isBack ? null : begun();
  return {
    left: () => step?.leave(),
    key: `box:${id}`,
    title: (known) => `${what} on slice ${image.number} ${isNot(known)} marked:`,
    go: { text: `Show slice ${image.number}`, run: () => open(image) },
    drop: { text: "Discard the box", run: () => dropBox(id) },
    send: async () => {
      const answer = await request(rooted(`/images/${imageId}/lesions`), { method: "POST", body, keepalive: true });
      return { html: answer.html, lesion: lesionOf(answer, id, true) };
    },
    done: ({ html, lesion }) => {
      boxes.remove(id);
      if (replaces) {
        reviews.move(replaces.id, id);
        takeOut(replaces.id, id);
      }
      const mine = state.chosen?.box === id || (replaces && isChosen(replaces));
      if (mine) state.chosen = { lesion };
      takeIn(lesion);
      if (mine) {
        stopReading();
        showPanel(html, lesion);
        history.pushState({ lesion: id }, "", address());
      }
      drawLesions();
      step?.settle(() => (replaces ? moveBack(lesion.number, replaces) : unmark(lesion.number)));
      tell(replaces ? `The box of lesion ${lesion.number} is ${isBack ? "where it was" : "moved"}.`
        : `Lesion ${lesion.number} marked on slice ${image.number}.`);
      if (mine && lesion.covered) say("Score covered until you give your own class.");
    },
    refused: (refusal, final) => {
      if (refusal.body.person_changed) { otherPerson(refusal.message); return true; }
      if (!final) {
        if (state.chosen?.box === id) panel.loading(`New lesion, slice ${image.number}`, "Not marked yet. The box is kept here.");
        return false;
      }
      boxes.remove(id);
      if (refusal.body.withdrawn) takeOut(replaces.id);
      if (state.chosen?.box === id) choose(state.lesions.find((lesion) => lesion.id === replaces?.id));
      refuse(`${what} on slice ${image.number} was not marked. ${refusal.message}`);
      drawLesions();
      return true;
    },
  };
}

function dropBox(id) {
  const { replaces } = boxes.get(id);
  boxes.remove(id);
  outbox.drop(`box:${id}`);
  if (state.chosen?.box === id) choose(state.lesions.find((lesion) => lesion.id === replaces?.id));
  drawBoxes();
}

viewer.addEventListener("marked", ({ detail: { image, box, shape } }) => mark(image, { box, shape }));
// A mark is never overwritten: the new box is a record of its own under the same number, and the old one
// is withdrawn with it.
viewer.addEventListener("adjusted", ({ detail: { lesion, box } }) => {
  mark(byId.get(lesion.image_id), { box, shape: lesion.shape }, { replaces: lesion });
});

// ---- taking back ----------------------------------------------------------------------------

viewer.addEventListener("undoable", ({ detail: { undo: act } }) => undo.push(act));

/** The lesion of that number, if it may be taken back now; else says why, and is false while it may be later. */
function takenBack(number) {
  if (outbox.items.some(({ state: is }) => is === "sending")) {
    tell("Not taken back yet: something is on its way to the server. Press Ctrl and Z again.");
    return false;
  }
  const lesion = state.lesions.find((one) => one.number === number) ?? null;
  if (!lesion) tell(`Nothing was taken back: lesion ${number} is not here any more.`);
  else if (lesion.claims.some(({ by }) => by === "own")) {
    tell(`Nothing was taken back: lesion ${number} has a class of yours. Its panel can withdraw it.`);
    return null;
  }
  return lesion;
}

function unmark(number) {
  const lesion = takenBack(number);
  if (lesion) withdraw(lesion, slipOf(lesion), { isBack: true });
  return lesion !== false;
}

function moveBack(number, { box, shape }) {
  const lesion = takenBack(number);
  if (lesion) mark(byId.get(lesion.image_id), { box, shape }, { replaces: lesion, isBack: true });
  return lesion !== false;
}

const slipOf = ({ id, number }) => new URLSearchParams({ lesion: id, number, person: data.person.id });

/** Withdraw the chosen lesion, if it is on the slice in sight and nobody has given a class for it; else say why not. */
export function removeChosen() {
  const lesion = state.chosen?.lesion;
  if (!lesion || lesion.image_id !== viewer.image?.id || viewer.stale) return false;
  if (panel.lesion !== lesion.id || !panel.editable) {
    tell(`Lesion ${lesion.number} was not deleted: where a class was given, or where it is not yours, its panel says what can be done.`);
    return true;
  }
  withdraw(lesion, slipOf(lesion));
  return true;
}

/** The id of what is chosen now, a lesion or a box; null of nothing. */
const chosenNow = () => state.chosen?.lesion?.id ?? state.chosen?.box ?? null;

/** Bring a withdrawn lesion back. */
function restore(lesion) {
  if (state.stranger) return;
  const key = `restoration:${lesion.id}`;
  const asked = { chosen: chosenNow(), image: viewer.wanted };
  const body = new URLSearchParams({ person: data.person.id });
  outbox.put({
    key,
    title: (known) => `Lesion ${lesion.number} ${isNot(known)} brought back:`,
    go: { text: `Show slice ${byId.get(lesion.image_id).number}`, run: () => open(byId.get(lesion.image_id)) },
    drop: { text: "Leave it", run: () => outbox.drop(key) },
    send: async () => {
      const answer = await request(rooted(`/lesions/${lesion.id}/restoration`), { method: "POST", body, keepalive: true });
      return { html: answer.html, told: lesionOf(answer, lesion.id, true) };
    },
    done: ({ html, told }) => {
      takeIn(told);
      // whoever has gone on meanwhile stays where they are
      if (chosenNow() === asked.chosen && viewer.wanted === asked.image) {
        state.chosen = { lesion: told };
        stopReading();
        showPanel(html, told);
        open(byId.get(told.image_id), { keep: true });
        history.replaceState(null, "", address());
      }
      drawLesions();
      tell(`Lesion ${told.number} is back${isChosen(told) ? "" : `, on ${whereOf(byId.get(told.image_id))}`}.`);
    },
    refused: (refusal) => {
      if (refusal.body.person_changed) { otherPerson(refusal.message); return true; }
      return false;
    },
  });
}

// ---- reviews and withdrawals ----------------------------------------------------------------

panel.addEventListener("filled", ({ detail: { lesion, values, empty } }) => {
  if (empty) reviews.remove(lesion); else reviews.set(lesion, { ...values, case: data.case_id });
  drawLesions();
});
panel.addEventListener("discarded", ({ detail: { lesion } }) => {
  reviews.remove(lesion);
  outbox.drop(reviewOf(lesion));
  drawLesions();
});

function save(form) {
  const lesion = state.chosen?.lesion;
  // Three times the same id: what is chosen, whose panel it is, and what the form says it is for.
  if (state.stranger || !lesion || form !== panel.form || form.elements.lesion.value !== lesion.id) return;
  const values = filledIn(form);
  const said = (name) => $(`[name=${name}]:checked`, form).dataset.says;
  const words = `${said("lesion_class")}, confidence ${said("confidence")}`;
  const body = new URLSearchParams(new FormData(form));
  const item = {
    key: reviewOf(lesion.id),
    words,
    title: (known) => `Lesion ${lesion.number}, ${words}, ${isNot(known)} saved:`,
    go: { text: `Go to lesion ${lesion.number}`, run: () => goTo(lesion.id) },
    drop: { text: "Hide this", run: () => outbox.drop(reviewOf(lesion.id)) },
    send: async () => {
      const answer = await request(rooted(`/lesions/${lesion.id}/reviews`), { method: "POST", body, keepalive: true });
      return { html: answer.html, told: lesionOf(answer, lesion.id, true) };
    },
    done: ({ html, told }) => {
      const draft = reviews.get(lesion.id);
      if (draft && Object.keys(values).every((name) => draft[name] === values[name])) reviews.remove(lesion.id);
      takeIn(told);
      if (isChosen(lesion)) {
        stopReading(); // an older answer must not come over this one
        showPanel(html, told);
      }
      drawLesions();
      tell(`Saved for lesion ${lesion.number}: ${words}.`);
    },
    refused: (refusal) => {
      if (refusal.body.person_changed) { otherPerson(refusal.message); return true; }
      if (refusal.body.withdrawn) {
        refuse(`${refusal.message} Your class for it (${words}) was not saved${values.note.trim() ? `, nor the note “${values.note.trim()}”` : ""}.`);
        reviews.remove(lesion.id);
        withdrawnElsewhere(lesion, refusal);
        return true;
      }
      if (isChosen(lesion)) panel.release();
      return false;
    },
  };
  tell("");
  if (!outbox.put(item)) return;
  panel.hold(`Saving ${words} …`);
  toCanvas();
}

function submitWithdrawal(form) {
  const lesion = state.chosen?.lesion;
  if (!lesion || panel.lesion !== lesion.id || form.elements.lesion.value !== lesion.id) return;
  withdraw(lesion, new URLSearchParams(new FormData(form)));
}

function withdraw(lesion, body, { isBack = false } = {}) {
  if (state.stranger) return;
  const key = `withdrawal:${lesion.id}`;
  const gone = (text) => {
    const wasChosen = isChosen(lesion);
    takeOut(lesion.id);
    outbox.drop(reviewOf(lesion.id));
    if (wasChosen) { choose(null); history.replaceState(null, "", address()); } else drawLesions();
    tell(text);
  };
  const step = isBack ? null : begun();
  outbox.put({
    key,
    left: () => step?.leave(),
    title: (known) => `Lesion ${lesion.number} ${isNot(known)} withdrawn:`,
    go: { text: `Go to lesion ${lesion.number}`, run: () => goTo(lesion.id) },
    drop: { text: "Leave it", run: () => outbox.drop(key) },
    send: () => request(rooted(`/lesions/${lesion.id}/withdrawal`), { method: "POST", body, keepalive: true }),
    done: () => {
      step?.settle(() => restore(lesion));
      gone(isBack ? `Lesion ${lesion.number} was taken back.` : `Lesion ${lesion.number} was withdrawn. Ctrl and Z brings it back.`);
    },
    refused: (refusal) => {
      if (refusal.body.person_changed) { otherPerson(refusal.message); return true; }
      if (refusal.body.withdrawn) { gone(refusal.message); return true; }
      if (isChosen(lesion)) panel.release();
      return false;
    },
  });
  if (isChosen(lesion)) panel.hold("Withdrawing …");
}

page.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-review]")) { event.preventDefault(); save(form); }
  else if (form.matches("[data-withdrawal]")) { event.preventDefault(); submitWithdrawal(form); }
});
