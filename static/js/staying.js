// Forms that stay: what the server refuses, or never answers, is said in the form, and everything typed
// is still there. A form that a page's own script sends is left to it, and so is one whose refusal is a
// page with more on it (data-native). Without scripts each refusal is a page.

import { Refusal, request } from "./fragment.js";
import { rooted } from "./root.js";
import { signInHere } from "./signing.js";

const LONG_MS = 600_000; // what says that it takes long (data-busy) has so much time

const named = (form, name) => [...form.elements].filter((one) => one.name === name && one.type !== "hidden");

/** Take back what was said of an earlier try. */
function clear(form) {
  for (const note of form.querySelectorAll("[data-refusal]")) note.remove();
  for (const field of form.querySelectorAll("[data-refused]")) {
    const { refused } = field.dataset;
    field.removeAttribute("aria-invalid");
    delete field.dataset.refused;
    const kept = (field.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && id !== refused);
    if (kept.length) field.setAttribute("aria-describedby", kept.join(" "));
    else field.removeAttribute("aria-describedby");
  }
}

let notes = 0;

// As macros/ui.html draws it; made here, so that no page that nothing was refused on has it.
const NOTE = `<div class="flash flash--danger" role="alert"><svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6.2"/><path d="M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8"/></svg><div class="flash__body"><span class="visually-hidden">Refused: </span><span data-text></span> <a href="${rooted("/sessions/new")}" target="_blank" data-sign-in>Sign in again</a></div></div>`;

/** Say words after an element, or at the end of the form; the note. */
function say(form, words, after, { signIn = false } = {}) {
  const box = document.createElement("template");
  box.innerHTML = NOTE;
  const note = box.content.firstElementChild;
  note.dataset.refusal = "";
  note.id = `refusal-${notes += 1}`;
  note.querySelector("[data-text]").textContent = words;
  if (!signIn) note.querySelector("[data-sign-in]").remove();
  if (after) after.after(note);
  else form.append(note);
  return note;
}

function tie(field, note) {
  field.setAttribute("aria-invalid", "true");
  field.dataset.refused = note.id;
  field.setAttribute("aria-describedby", `${field.getAttribute("aria-describedby") ?? ""} ${note.id}`.trim());
}

/** Beside the field where the server names one, or where there is only one; else at the end of the form. */
function refuse(form, refusal) {
  const faults = (refusal.body.errors ?? []).filter(({ field }) => named(form, field).length);
  if (faults.length) {
    for (const { field: name, message } of faults) {
      const [field] = named(form, name);
      tie(field, say(form, message, field));
    }
    named(form, faults[0].field)[0].focus();
    return;
  }
  const typed = [...form.elements].filter((one) => one.name && one.matches("input:not([type=hidden]), textarea, select"));
  const signIn = refusal.status === 401;
  const note = say(form, refusal.status ? refusal.message
    : "The server did not answer, so it is not known whether this was stored. What you typed is still here; try again, or look in another tab first.",
  typed.length === 1 ? (typed[0].closest(".field") ?? typed[0]) : null, { signIn });
  if (typed.length === 1 && refusal.status) { tie(typed[0], note); typed[0].focus(); }
  note.scrollIntoView({ block: "nearest" });
}

/** Go where the server says; a page that differs from this one by its fragment alone is loaded anew. */
function go(address) {
  const to = new URL(address, location.href);
  if (to.pathname !== location.pathname || to.search !== location.search) { location.assign(to); return; }
  history.replaceState(null, "", to);
  location.reload();
}

async function send(form, submitter) {
  const data = new FormData(form, submitter);
  const body = form.enctype === "multipart/form-data" ? data : new URLSearchParams(data);
  const url = submitter?.getAttribute("formaction") ?? form.getAttribute("action") ?? location.href;
  const options = { method: "POST", body, headers: { "X-Fragment": "0", "X-Stays": "1" } };
  if (form.dataset.busy) options.patienceMs = LONG_MS;
  const { html } = await request(url, options);
  try { return JSON.parse(html).address; } catch {
    throw new Refusal(200, "", "The server answered in a way that this page does not know. Look in another tab whether it was stored.");
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.matches("[method=post]:not([data-native], [data-upload])")) return;
  event.preventDefault();
  if (form.dataset.sent) return; // pressed twice
  form.dataset.sent = "1";
  clear(form);
  try {
    go(await send(form, event.submitter));
    window.addEventListener("pageshow", () => { delete form.dataset.sent; }, { once: true });
  } catch (error) {
    delete form.dataset.sent;
    if (error.status === 401 && await signInHere()) { form.requestSubmit(event.submitter); return; }
    form.dispatchEvent(new CustomEvent("form:refused", { bubbles: true }));
    refuse(form, error);
  }
});
