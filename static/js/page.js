// The parts of the case page that its modules share: what the server told, the viewer, the panel, what
// waits to be stored, and what is chosen.

import { Drafts } from "./drafts.js";
import { Outbox } from "./outbox.js";
import { Panel } from "./panel.js";
import { PixelStore } from "./pixels.js";
import { Undo } from "./undo.js";
import { Viewer } from "./viewer/viewer.js";

export const $ = (selector, root = document) => root.querySelector(selector);
export const data = JSON.parse(document.getElementById("case-data").textContent);
export const page = $("[data-case]");
export const images = data.series.flatMap((series) => series.images.map((image) => ({ ...image, series })));
export const byId = new Map(images.map((image) => [image.id, image]));

export const store = new PixelStore();
export const viewer = new Viewer({ canvas: $("#slice"), store, presets: data.presets });
export const panel = new Panel($("#lesion-panel"));
export const outbox = new Outbox();
export const undo = new Undo();

/** A place among what can be taken back, for what is sent now. */
export const begun = () => undo.begin(() => tell("Not taken back yet: it is not known whether what was done last is stored. Press Ctrl and Z again once it is."));
export const reviews = new Drafts(data.person.id, "review");   // lesion id → what is filled in
export const boxes = new Drafts(data.person.id, "box");        // id of the lesion to be → what is drawn

/**
 * lesions: as the server described them last, each with the measures that are kept with it. chosen: null, { lesion }, or { box } while a box is being
 * marked. stranger: somebody else signed in in this browser, so nothing is sent any more.
 */
export const state = { lesions: data.lesions.map((lesion) => ({ ...lesion, measures: data.measures[lesion.id] ?? [] })), chosen: null, stranger: false };

/** For the live region: what the person who cannot see the picture must hear. */
export function say(text) { $("#viewer-says").textContent = text; }

/** On the page as well: what was stored, of which lesion. */
export function tell(text) { $("#panel-says").textContent = text; }

/** A refusal that stays until it is dismissed. */
export function refuse(text) {
  const note = $("#refusal").content.firstElementChild.cloneNode(true);
  $("[data-text]", note).textContent = text;
  $("#panel-notes").append(note);
}

export const toCanvas = () => $("#slice")?.focus({ preventScroll: true });
