// The lesions of the case page: the list, which one is chosen, and the panel that follows it.

import { onOtherPerson } from "./dialogs.js";
import { Refusal, request } from "./fragment.js";
import { $, boxes, byId, data, outbox, panel, refuse, reviews, say, state, viewer } from "./page.js";
import { rooted } from "./root.js";
import { address, keepInSight, drawTicks, open, whereOf } from "./slices.js";

const replaced = new Map(); // id → that of the lesion in its place
let reading = null; // the request for the panel; only the newest counts

export const isChosen = (lesion) => state.chosen?.lesion?.id === lesion.id;
export const reviewOf = (id) => `review:${id}`;

let drawnToo = () => {}; // what else shows the marks

/** Told whenever the marks are drawn anew. */
export function onLesionsDrawn(then) { drawnToo = then; }

export function drawLesions() {
  viewer.setLesions(state.lesions);
  viewer.setKept(state.lesions.flatMap(({ id, number, measures }) => measures.map(({ by, deletable, ...measure }) => ({ ...measure, kept: { by, deletable, lesion: id, number } }))));
  drawnToo();
  const list = $("#lesion-list");
  const template = $("#lesion-row");
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.lesion : null;
  list.replaceChildren(...state.lesions.map((lesion) => {
    const row = template.content.firstElementChild.cloneNode(true);
    const link = $("[data-lesion]", row);
    const image = byId.get(lesion.image_id);
    link.dataset.lesion = lesion.id;
    link.href = `?lesion=${lesion.id}`;
    $("[data-name]", link).textContent = `Lesion ${lesion.number}`;
    $("[data-where]", link).textContent = image ? whereOf(image) : "";
    $("[data-claims]", link).replaceChildren(...lesion.claims.map((claim) => {
      const text = document.createElement("span");
      text.className = `claim claim--${claim.by}`;
      text.textContent = claim.text;
      return text;
    }));
    $("[data-covered]", link).hidden = !lesion.covered;
    $("[data-unsaved]", link).hidden = !reviews.has(lesion.id);
    if (isChosen(lesion)) link.setAttribute("aria-current", "true");
    return row;
  }));
  if (focused) $(`[data-lesion="${focused}"]`, list)?.focus({ preventScroll: true });
  keepInSight($("[aria-current]", list), list);
  $("#lesion-none").hidden = state.lesions.length > 0;
  $("[data-lesion-count]").textContent = String(state.lesions.length);
  drawTicks();
}

export function takeIn(lesion) {
  state.lesions = [...state.lesions.filter((other) => other.id !== lesion.id), lesion].sort((a, b) => a.number - b.number);
  if (isChosen(lesion)) state.chosen = { lesion };
}

/** It is here no more; successor: the id of the lesion that stands in its place. */
export function takeOut(id, successor = null) {
  state.lesions = state.lesions.filter((lesion) => lesion.id !== id);
  if (successor) replaced.set(id, successor);
  reviews.remove(id);
}

/** The id that stands now where a lesion of that id stood while the page was open: addresses may name it still. */
export function standsFor(id) {
  let found = id;
  while (replaced.has(found)) found = replaced.get(found);
  return found;
}

/** The lesion that an answer tells of; a Refusal when it is not the one that was asked for. */
export function lesionOf(answer, id, write) {
  let told = null;
  try { told = JSON.parse(answer.headers.get("X-Lesion")); } catch { /* not ours */ }
  if (told?.id === id && told.person === data.person.id) return { ...told, measures: measuresIn(answer.html) };
  if (told && told.person !== data.person.id) {
    throw new Refusal(409, "Somebody else", "Somebody else is signed in in this browser now.", { person_changed: true });
  }
  throw new Refusal(0, "Another answer", write
    ? "something else answered in the server's place, so it is not known whether this was stored."
    : "something else answered in the server's place.");
}

/** The measures that are kept with the lesion of a panel: an outline may be too long for a header. */
function measuresIn(html) {
  const panel = document.createElement("template");
  panel.innerHTML = html;
  return JSON.parse($("[data-measures]", panel.content).dataset.measures);
}

export function showPanel(html, lesion) {
  const draft = reviews.get(lesion.id);
  if (draft && !panel.show(html, lesion, draft)) reviews.remove(lesion.id); // it is what was stored
  else if (!draft) panel.show(html, lesion);
  settlePanel(lesion);
}

export function settlePanel(lesion) {
  const item = outbox.get(reviewOf(lesion.id));
  if (item?.state === "sending") panel.hold(`Saving ${item.words} …`);
  if (outbox.isSending(`withdrawal:${lesion.id}`)) panel.hold("Withdrawing …");
  viewer.select(lesion.id, { editable: panel.editable });
}

/** What a refusal asks for, in words, after what happened. */
export function why(refusal) {
  if (refusal.status === 401) return "you are signed out. Sign in again, and it is tried again.";
  return refusal.message;
}

/** Whatever the panel's request answers from now on, it is not heard. */
export function stopReading() {
  reading?.abort();
  reading = null;
}

export async function load(lesion) {
  stopReading();
  const mine = new AbortController();
  reading = mine;
  panel.loading(`Lesion ${lesion.number}`, "Loading … The keys of the review wait until it is here.");
  viewer.select(lesion.id);
  try {
    const answer = await request(rooted(`/lesions/${lesion.id}`), { signal: mine.signal });
    if (reading !== mine) return;
    const told = lesionOf(answer, lesion.id, false);
    takeIn(told);
    if (isChosen(lesion)) showPanel(answer.html, told);
    drawLesions();
  } catch (refusal) {
    if (reading !== mine) return;
    if (!(refusal instanceof Refusal)) throw refusal;
    if (refusal.body.person_changed) otherPerson(refusal.message);
    else if (refusal.body.withdrawn) withdrawnElsewhere(lesion, refusal);
    else {
      panel.failed(`Lesion ${lesion.number}`, `Lesion ${lesion.number} could not be loaded: ${why(refusal)}`, {
        retry: () => load(lesion), signIn: refusal.status === 401,
      });
      say(`Lesion ${lesion.number} could not be loaded. T tries again.`);
    }
  } finally {
    if (reading === mine) reading = null;
  }
}

export function withdrawnElsewhere(lesion, refusal) {
  const wasChosen = isChosen(lesion);
  if (reviews.has(lesion.id)) refuse(`${refusal.message} What you had filled in for it was not saved.`);
  const next = refusal.body.withdrawn.replaced_by;
  takeOut(lesion.id, next);
  if (wasChosen) {
    stopReading();
    state.chosen = null;
    viewer.select(null);
    panel.failed(`Lesion ${lesion.number}`, refusal.message, {
      successor: next ? { href: `?lesion=${next}`, text: "Open the lesion in its place" } : null,
    });
  }
  drawLesions();
}

export function choose(lesion, { push = true } = {}) {
  if (state.stranger) return;
  if (!lesion) {
    stopReading();
    state.chosen = null;
    drawLesions();
    viewer.select(null);
    panel.empty();
    return;
  }
  const again = isChosen(lesion) && panel.lesion === lesion.id;
  state.chosen = { lesion };
  drawLesions();
  $(".case__side").scrollTop = 0;
  const image = byId.get(lesion.image_id);
  if (image) open(image, { keep: true });
  viewer.reveal(lesion.box);
  if (push && !again) history.pushState({ lesion: lesion.id }, "", address());
  say(`${lesion.label}${image ? `, ${whereOf(image)}` : ""}${lesion.covered ? ", score covered" : ""}`);
  if (!again) load(lesion);
}

/** Choose a lesion and ask for its panel anew, even if it is here. */
export function goTo(id) {
  const lesion = state.lesions.find((one) => one.id === id);
  if (lesion && isChosen(lesion)) load(lesion);
  else choose(lesion);
}

export function step(by) {
  if (state.lesions.length === 0) { say("No lesion is marked in this case."); return; }
  const index = state.lesions.findIndex(isChosen);
  const next = index < 0 ? (by > 0 ? 0 : state.lesions.length - 1) : (index + by + state.lesions.length) % state.lesions.length;
  choose(state.lesions[next]);
}

viewer.addEventListener("pick", ({ detail: { lesion } }) => choose(lesion));

export function otherPerson(text) {
  state.stranger = true;
  stopReading();
  state.chosen = null;
  reviews.forget();
  boxes.forget();
  outbox.clear();
  viewer.select(null);
  viewer.setTool("window");
  panel.failed("Somebody else is signed in", `${text} What was not saved here is gone.`, { retry: () => location.reload() });
  say("Somebody else is signed in in this browser. Reload the page.");
}
onOtherPerson(data.person.id, () => otherPerson("Somebody else has signed in in this browser, so this page takes nothing any more. Reload it."));
