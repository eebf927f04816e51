// What the case page writes: boxes, reviews, withdrawals. Each is bound to one lesion from its first
// moment, goes through the outbox, and is let go when the server has it.

import { request } from "./fragment.js";
import { choose, drawLesions, goTo, isChosen, lesionOf, otherPerson, reviewOf, showPanel, stopReading, takeIn, takeOut, withdrawnElsewhere } from "./lesions.js";
import { uuid } from "./outbox.js";
import { $, boxes, byId, data, outbox, page, panel, refuse, reviews, say, state, tell, toCanvas, viewer } from "./page.js";
import { filledIn } from "./panel.js";
import { address, open } from "./slices.js";

/** A write without an answer may have been stored all the same. */
const isNot = (known) => (known ? "is not" : "may not be");

// ---- boxes ----------------------------------------------------------------------------------

export function drawBoxes() {
  viewer.setPending(boxes.all().map(([id, { image, box }]) => ({
    image_id: image, box, words: outbox.isSending(`box:${id}`) ? "marking …" : "not marked yet",
  })));
}

/** Send a drawn box; the lesion gets the id that is made here, so that it is marked once. */
function mark(image, box, replaces = null) {
  if (state.stranger) return;
  const id = uuid();
  boxes.set(id, { case: data.case_id, image: image.id, box, replaces: replaces && { id: replaces.id, number: replaces.number } });
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
  const { image: imageId, box: [x, y, width, height], replaces } = boxes.get(id);
  const image = byId.get(imageId);
  const what = replaces ? `The new box of lesion ${replaces.number}` : "The box";
  const body = new URLSearchParams({ x, y, width, height, lesion: id, person: data.person.id });
  if (replaces) body.set("replaces", replaces.id);
  return {
    key: `box:${id}`,
    title: (known) => `${what} on slice ${image.number} ${isNot(known)} marked:`,
    go: { text: `Show slice ${image.number}`, run: () => open(image) },
    drop: { text: "Discard the box", run: () => dropBox(id) },
    send: async () => {
      const answer = await request(`/images/${imageId}/lesions`, { method: "POST", body, keepalive: true });
      return { html: answer.html, lesion: lesionOf(answer, id, true) };
    },
    done: ({ html, lesion }) => {
      boxes.remove(id);
      if (replaces) {
        reviews.move(replaces.id, id);
        takeOut(replaces.id);
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
      tell(replaces ? `Lesion ${replaces.number} was replaced by lesion ${lesion.number}.`
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

viewer.addEventListener("marked", ({ detail: { image, box } }) => mark(image, box));
// A mark is never overwritten: the new box is a new lesion, the old one is withdrawn with it.
viewer.addEventListener("adjusted", ({ detail: { lesion, box } }) => mark(byId.get(lesion.image_id), box, lesion));

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
      const answer = await request(`/lesions/${lesion.id}/reviews`, { method: "POST", body, keepalive: true });
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

function withdraw(form) {
  const lesion = state.chosen?.lesion;
  if (state.stranger || !lesion || panel.lesion !== lesion.id || form.elements.lesion.value !== lesion.id) return;
  const key = `withdrawal:${lesion.id}`;
  const body = new URLSearchParams(new FormData(form));
  const gone = (text) => {
    const wasChosen = isChosen(lesion);
    takeOut(lesion.id);
    outbox.drop(reviewOf(lesion.id));
    if (wasChosen) { choose(null); history.replaceState(null, "", address()); } else drawLesions();
    tell(text);
  };
  outbox.put({
    key,
    title: (known) => `Lesion ${lesion.number} ${isNot(known)} withdrawn:`,
    go: { text: `Go to lesion ${lesion.number}`, run: () => goTo(lesion.id) },
    drop: { text: "Leave it", run: () => outbox.drop(key) },
    send: () => request(`/lesions/${lesion.id}/withdrawal`, { method: "POST", body, keepalive: true }),
    done: () => gone(`Lesion ${lesion.number} was withdrawn.`),
    refused: (refusal) => {
      if (refusal.body.person_changed) { otherPerson(refusal.message); return true; }
      if (refusal.body.withdrawn) { gone(refusal.message); return true; }
      if (isChosen(lesion)) panel.release();
      return false;
    },
  });
  panel.hold("Withdrawing …");
}

page.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-review]")) { event.preventDefault(); save(form); }
  else if (form.matches("[data-withdrawal]")) { event.preventDefault(); withdraw(form); }
});
