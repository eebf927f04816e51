// How long the sign-in lasts: said ten minutes before it ends, and signing in again without leaving the
// page. Events of the window: "signing-in" when the dialog opens, "signing-in-over" when it closes, and
// "signed-in" when the page's own person is signed in again.

import { rooted } from "./root.js";

const WARNING_MS = 600_000;
const LOOK_MS = 60_000; // while a warning stands: another tab may have gone on
const FIRST_MS = 1_000; // what a page needs first goes before
const NOTED_MS = 60_000; // the server writes use down once in so long
const AGAIN_MS = 30_000; // where the server did not answer

/** What is to be said now, and in how many ms to look again: {kind, at, nextMs}; at: ms since 1970. */
export function outlook({ idle_s: idleS, ends_s: endsS }, nowMs) {
  const leftMs = Math.min(idleS, endsS) * 1000;
  if (leftMs > WARNING_MS) return { kind: "", at: 0, nextMs: leftMs - WARNING_MS };
  return { kind: idleS < endsS ? "idle" : "ends", at: nowMs + leftMs, nextMs: Math.min(leftMs + 1000, LOOK_MS) };
}

const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** Words of a warning and of its button. */
export function wordsOf(kind, at) {
  switch (kind) {
    case "idle": return [`You are signed out at ${clock(at)} unless you go on.`, "Stay signed in"];
    case "ends": return [`Your sign-in ends at ${clock(at)}, and nothing moves that. This page stays as it is.`, "Sign in again"];
    default: return ["Your sign-in has ended. This page is as it was.", "Sign in again"];
  }
}

/** The same in the bar of the desk. */
export function briefly(kind, at) {
  switch (kind) {
    case "idle": return [`Signed out at ${clock(at)} without use`, "Stay signed in"];
    case "ends": return [`Sign-in ends at ${clock(at)}`, "Sign in again"];
    default: return ["Sign-in has ended", "Sign in again"];
  }
}

// ---- the page's own warning -----------------------------------------------------------------

const { person, local } = globalThis.document?.body?.dataset ?? {};
let timer = 0;
let dueAt = Infinity; // ms since 1970: a computer that slept is late
let shown = "";

async function asked(url, options = {}) {
  const reply = await fetch(url, { credentials: "same-origin", cache: "no-store", ...options, headers: { accept: "application/json", "X-Stays": "1", ...options.headers } });
  const body = await reply.json().catch(() => ({}));
  return { ok: reply.ok, status: reply.status, body };
}

function later(ms) {
  clearTimeout(timer);
  dueAt = Date.now() + ms;
  timer = setTimeout(look, Math.min(ms, 2 ** 31 - 1));
}

/** Say a warning once; "" takes it away. */
function show(kind, at = 0) {
  const place = document.querySelector("[data-ending]");
  if (!place || kind === shown) return;
  shown = kind;
  if (!kind) { place.replaceChildren(); return; }
  const isDesk = place.matches(".desk__ending"); // beside an image nothing may move or grow
  const [words, act] = isDesk ? briefly(kind, at) : wordsOf(kind, at);
  const button = (text, run) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "button button--small";
    made.textContent = text;
    made.addEventListener("click", run);
    return made;
  };
  const said = document.createElement("span");
  said.textContent = words;
  const goOn = button(act, () => (kind === "idle" ? stay() : signInHere()));
  place.replaceChildren(said, " ", goOn);
  if (!isDesk) place.append(" ", button("Not now", () => place.replaceChildren()));
}

function take(state) {
  if (state.person === null) { show("over"); return; }
  if (state.person !== person) return; // dialogs.js says so
  keepEnd(Date.now() + state.ends_s * 1000);
  const { kind, at, nextMs } = outlook(state, Date.now());
  show(kind, at);
  later(nextMs);
}

// Pages of a blinded reading are alike to the letter, so none holds how many seconds are left: the end
// is asked once in a tab and kept there. One that was moved by a new sign-in is found too early, and asked.
const END = `hepatica-sign-in-ends:${person}`;

function keepEnd(at) {
  try { window.sessionStorage.setItem(END, String(Math.round(at))); } catch { /* asked on each page */ }
}

function keptEnd() {
  try { return Number(window.sessionStorage.getItem(END)) || 0; } catch { return 0; }
}

async function look() {
  dueAt = Infinity;
  const state = await asked(rooted("/sessions/state")).catch(() => null);
  if (state?.ok) take(state.body);
  else later(AGAIN_MS);
}

async function stay() {
  const state = await asked(rooted("/sessions/use"), { method: "POST" }).catch(() => null);
  if (state?.ok) take(state.body);
  else if (state?.status === 401) show("over");
  else later(AGAIN_MS);
}

// ---- signing in again -----------------------------------------------------------------------

let under = null; // the promise of the dialog that is open

/** Ask for a sign-in in a dialog over the page; whether the page's own person is signed in then. */
export function signInHere() {
  under ??= ask().finally(() => { under = null; });
  return under;
}

const LOCAL = `<form class="stack" data-native>
  <input class="visually-hidden" type="text" name="name" autocomplete="username" tabindex="-1" aria-hidden="true" readonly>
  <div class="field" data-first><label class="field__label" for="again-password">Password</label><input class="input" id="again-password" name="password" type="password" autocomplete="current-password" required autofocus></div>
  <div class="field" data-second hidden><label class="field__label" for="again-code">Code</label><input class="input" id="again-code" name="code" autocomplete="one-time-code" maxlength="40"><span class="field__hint">The six digits that your authenticator app shows now, or a recovery code.</span></div>
  <p class="field__error" role="alert" data-error hidden></p>
  <div class="row"><button class="button button--primary">Sign in</button> <button class="button" type="button" data-not-now>Not now</button></div>
</form>`;
const ELSEWHERE = `<div class="stack">
  <p><a class="button button--primary" target="_blank" rel="noopener">Sign in with your hospital account (new tab)</a></p>
  <p class="soft">Come back to this page then; it goes on by itself.</p>
  <p class="field__error" role="alert" data-error hidden></p>
  <p><button class="button" type="button" data-not-now>Not now</button></p>
</div>`;

function drawn() {
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  dialog.setAttribute("aria-labelledby", "again-title");
  dialog.innerHTML = `<div class="dialog__head"><h2 id="again-title">Sign in again</h2></div><div class="dialog__body stack"><p data-whom></p>${local ? LOCAL : ELSEWHERE}</div>`;
  dialog.querySelector("[data-whom]").textContent = local
    ? `Your sign-in has ended, or ends soon. What is on this page stays, and it goes on as ${local}.`
    : "Your sign-in has ended, or ends soon. What is on this page stays.";
  if (local) dialog.querySelector("[name=name]").value = local;
  else dialog.querySelector("a").href = rooted("/sessions/oidc?next=/account");
  document.body.append(dialog);
  return dialog;
}

function ask() {
  const dialog = drawn();
  const before = document.activeElement;
  const stopping = new AbortController();
  const { signal } = stopping;
  const complain = (words) => {
    const place = dialog.querySelector("[data-error]");
    place.textContent = words;
    place.hidden = !words;
  };
  return new Promise((resolve) => {
    const end = (isIn) => {
      stopping.abort();
      dialog.close();
      dialog.remove();
      before?.focus?.();
      window.dispatchEvent(new Event("signing-in-over"));
      if (isIn) window.dispatchEvent(new Event("signed-in"));
      resolve(isIn);
    };
    /** End where the page's own person is signed in. */
    const check = async () => {
      const { body } = await asked(rooted("/sessions/state"));
      if (body.person === person) { take(body); end(true); }
      else if (body.person) complain("Somebody else is signed in in this browser now. Reload the page, or sign out there first.");
      return body.person === person;
    };
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); end(false); }, { signal });
    dialog.querySelector("[data-not-now]").addEventListener("click", () => end(false), { signal });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) check().catch(() => {}); }, { signal });
    dialog.querySelector("form")?.addEventListener("submit", async (event) => {
      event.preventDefault();
      const { form = event.target } = event;
      complain("");
      const isSecond = !form.querySelector("[data-second]").hidden;
      const fields = isSecond ? { code: form.code.value } : { name: local, password: form.password.value };
      const url = isSecond ? rooted("/sessions/code") : rooted("/sessions");
      try {
        const reply = await asked(url, { method: "POST", body: new URLSearchParams(fields) });
        if (!reply.ok) { complain(reply.body.detail ?? `The server answered ${reply.status}.`); return; }
        if (new URL(reply.body.address ?? "", location.href).pathname === rooted("/sessions/code")) {
          form.password.value = "";
          form.querySelector("[data-first]").hidden = true;
          form.password.required = false;
          form.querySelector("[data-second]").hidden = false;
          form.code.required = true;
          form.code.focus();
          return;
        }
        await check();
      } catch { complain("The server did not answer. Try again."); }
    }, { signal });
    dialog.showModal();
    window.dispatchEvent(new Event("signing-in"));
  });
}

if (person) {
  const leftMs = keptEnd() - Date.now();
  const idleMs = Number(document.body.dataset.idleHours) * 3_600_000 - NOTED_MS;
  // a page that was asked for is use of the sign-in; the server has the last word before anything is said
  later(leftMs > 0 ? Math.max(0, Math.min(leftMs, idleMs) - WARNING_MS) : FIRST_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && Date.now() > dueAt) look(); });
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("a[data-sign-in]")) return;
    event.preventDefault();
    signInHere();
  });
}
