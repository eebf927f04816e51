// Measures that are kept with the chosen lesion: stored at once, through the outbox, and taken back alike.

import { request } from "./fragment.js";
import { drawLesions, isChosen, lesionOf, otherPerson, showPanel, stopReading, takeIn, withdrawnElsewhere } from "./lesions.js";
import { uuid } from "./outbox.js";
import { $, begun, byId, data, outbox, page, panel, say, state, tell, viewer } from "./page.js";
import { rooted } from "./root.js";
import { open } from "./slices.js";

const keyOf = (id) => `measure:${id}`;
const words = ({ says }) => says.join(", ");

/** Keep the measure that was clicked, or the last one of this slice, with the chosen lesion. */
export function keep() {
  if (state.stranger) return true;
  const measure = viewer.toKeep;
  const lesion = state.chosen?.lesion;
  if (!measure) {
    say(viewer.chosenMeasure ? "This measure is kept already." : "Nothing is measured on this slice. D, E, G or F measure.");
    return true;
  }
  if (!lesion) {
    tell("Not kept yet: choose the lesion first that the measure belongs to.");
    return true;
  }
  const { id: local, image, kind, points } = measure;
  const body = new URLSearchParams({
    measure: uuid(), image: image.id, kind, points: points.map(({ x, y }) => `${x},${y}`).join(" "),
    lesion: lesion.id, number: lesion.number, person: data.person.id,
  });
  const key = keyOf(local);
  const step = begun();
  const sent = outbox.put(item({
    key, step, lesion, image, address: rooted(`/lesions/${lesion.id}/measures`), body,
    what: `The measure ${words(measure)} on slice ${image.number}`, is: "kept", drop: "Keep it on this page only",
    done: () => {
      viewer.gaveMeasure(local, body.get("measure"));
      step.settle(() => settle({ id: body.get("measure"), lesion, image, says: measure.says, back: true, then: () => viewer.tookBackMeasure(local) }));
      tell(`Kept with lesion ${lesion.number}: ${words(measure)}.`);
    },
  }));
  if (sent) tell(`Keeping ${words(measure)} with lesion ${lesion.number} …`);
  return true;
}

/** Whether the measure that a key would delete is on its way to its lesion; then that is said. */
export function isBeingKept() {
  if (!outbox.get(keyOf(viewer.toKeep?.id))) return false;
  tell("Not deleted yet: it is not known whether this measure is kept. Delete it once it is.");
  return true;
}

/** Delete the chosen measure, if it is one that is kept; false where it is none. */
export function removeKept() {
  const measure = viewer.chosenMeasure;
  if (!measure?.kept) return false;
  if (measure.kept.deletable) withdrawKept(measure.id);
  else tell(`Not deleted: ${measure.kept.by} kept this measure, and only they, or an administrator, can delete it.`);
  return true;
}

/** Delete a measure that is kept, by its id. */
function withdrawKept(id) {
  const lesion = state.lesions.find(({ measures }) => measures.some((one) => one.id === id));
  if (!lesion || state.stranger) return;
  const { image_id: imageId } = lesion.measures.find((one) => one.id === id);
  settle({ id, lesion, image: byId.get(imageId), back: false });
}

/**
 * Withdraw a kept measure. back: that takes its keeping back, and is not taken back itself; then: what
 * follows. False while it cannot be sent.
 */
function settle({ id, lesion, image, back, then = () => {} }) {
  const step = back ? null : begun();
  return send(id, "withdrawal", lesion, image, () => {
    then();
    step?.settle(() => send(id, "restoration", lesion, image, () => tell(`The measure is back with lesion ${lesion.number}.`)));
    tell(back ? `Taken back: the measure is no longer kept with lesion ${lesion.number}.` : `The measure was deleted from lesion ${lesion.number}. Ctrl and Z brings it back.`);
  }, step);
}

function send(id, act, { number, ...former }, image, done, step = null) {
  // its box may have been moved since: then another lesion of the same number has the measure
  const lesion = state.lesions.find((one) => one.number === number) ?? { number, ...former };
  return outbox.put(item({
    key: keyOf(id), step, lesion, image, address: rooted(`/measures/${id}/${act}`), done,
    body: new URLSearchParams({ person: data.person.id }),
    what: `The measure on slice ${image.number}`, is: act === "withdrawal" ? "deleted" : "brought back", drop: "Leave it",
  }));
}

function item({ key, step, lesion, image, address, body, what, is, drop, done }) {
  return {
    key,
    left: () => step?.leave(),
    title: (known) => `${what} ${known ? "is not" : "may not be"} ${is}:`,
    go: { text: `Show slice ${image.number}`, run: () => open(image) },
    drop: { text: drop, run: () => outbox.drop(key) },
    send: async () => {
      const answer = await request(address, { method: "POST", body, keepalive: true });
      return { html: answer.html, told: lesionOf(answer, lesion.id, true) };
    },
    done: ({ html, told }) => {
      takeIn(told);
      if (panel.lesion === told.id) showMeasures(html);
      else if (isChosen(told)) {
        stopReading(); // what is on its way may be older than this
        showPanel(html, told);
      }
      done();
      drawLesions();
    },
    refused: (refusal) => {
      if (refusal.body.person_changed) { otherPerson(refusal.message); return true; }
      if (refusal.body.withdrawn) withdrawnElsewhere(lesion, refusal);
      return false;
    },
  };
}

/** The measures of the panel anew; the rest of it stays, so that an answer does not come between a person and what they type. */
function showMeasures(html) {
  const told = document.createElement("template");
  told.innerHTML = html;
  const list = $("[data-kept]");
  const [wasOpen, hadFocus] = [list?.open, list?.contains(document.activeElement)];
  $("[data-measures-place]", panel.article).replaceChildren(...$("[data-measures-place]", told.content).childNodes);
  const anew = $("[data-kept]");
  if (wasOpen) anew?.setAttribute("open", "");
  if (hadFocus) (anew ? $("summary", anew) : $("#slice")).focus({ preventScroll: true });
}

page.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-measure]")) return;
  event.preventDefault();
  withdrawKept(form.dataset.measure);
});

// ---- the buttons at the picture's corner --------------------------------------------------------

/** What can be done with the chosen measure: keep it with the chosen lesion, delete it. */
export function drawTools() {
  const measure = viewer.chosenMeasure;
  const lesion = state.chosen?.lesion;
  const [keepIt, removeIt] = ["keep", "remove"].map((name) => $(`[data-measure-tools] [data-do=${name}]`));
  keepIt.hidden = !measure || Boolean(measure.kept) || !lesion;
  if (lesion) $("[data-text]", keepIt).textContent = `Keep with lesion ${lesion.number}`;
  removeIt.hidden = Boolean(measure?.kept) && !measure.kept.deletable;
  $("[data-measure-tools]").hidden = keepIt.hidden && (removeIt.hidden || !measure);
}

viewer.addEventListener("chosen", drawTools);
