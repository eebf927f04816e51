// Upload: drop files or folders anywhere on the page, or choose them; they go in batches. What became of
// them is told by case and by reason, not file by file, and stays until it is dismissed. A file that
// names no patient is held here until it has a pseudonym, and one that could not be sent until it can.

import { rooted } from "./root.js";
import { filesInZip, studyOf } from './studies.js';

const MAX_FILES = 32;
const MAX_BYTES = 48e6;

const baseOf = (name) => name.split("/").at(-1);

/**
 * Split files ({name, size}) into batches of at most maxFiles and maxBytes; a larger file goes alone.
 * The server answers by file name without its folder, so no two files of one name share a batch.
 */
export function batches(files, { maxFiles = MAX_FILES, maxBytes = MAX_BYTES } = {}) {
  const made = [];
  let batch = [];
  let bytes = 0;
  let names = new Set();
  for (const file of files) {
    const name = baseOf(file.name);
    if (batch.length > 0 && (batch.length >= maxFiles || bytes + file.size > maxBytes || names.has(name))) {
      made.push(batch);
      batch = [];
      bytes = 0;
      names = new Set();
    }
    batch.push(file);
    names.add(name);
    bytes += file.size;
  }
  if (batch.length > 0) made.push(batch);
  return made;
}

/** Every file of a drop, folders walked through. Returns [{file, name}]. */
export async function dropped(transfer) {
  const entries = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) if (entry) await walk(entry, "", found);
  return found;
}

async function walk(entry, path, found) {
  if (entry instanceof File) { found.push({ file: entry, name: entry.name }); return; }
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject)).catch(() => null);
    if (file) found.push({ file, name: path + file.name });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader hands out at most a hundred entries at a time.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => []);
    if (some.length === 0) return;
    for (const one of some) await walk(one, `${path}${entry.name}/`, found);
  }
}

/** Send one form; onProgress gets the share sent. Resolves to {status, body}; status 0: not reached. */
export function send(url, form, onProgress) {
  return new Promise((resolve) => {
    const xhr = new XMLHttpRequest();
    xhr.open("POST", url);
    xhr.setRequestHeader("Accept", "application/json");
    xhr.upload.addEventListener("progress", (event) => { if (event.lengthComputable) onProgress(event.loaded / event.total); });
    xhr.addEventListener("load", () => {
      let body = {};
      try { body = JSON.parse(xhr.responseText); } catch { /* a proxy's page: the status has to do */ }
      resolve({ status: xhr.status, body });
    });
    for (const name of ["error", "abort", "timeout"]) xhr.addEventListener(name, () => resolve({ status: 0, body: {} }));
    xhr.send(form);
  });
}

/** Whether it is certain what became of the files: our server said so, or something refused them on the way. */
export function isKnown(status, body) {
  return status !== 0 && (status < 400 ? Array.isArray(body.accepted) : status < 500 || Boolean(body.detail));
}

/** The server's answers that are about this file: its own, or those of the files in it (a zip). */
export function answersFor(name, answers) {
  const own = baseOf(name);
  return answers.filter((answer) => answer.file === own || answer.file === name || answer.file.startsWith(`${own}/`));
}

const count = (number, noun = "file") => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** Whether the server refused a file because it names no patient. */
export function lacksPatient(answer) {
  return answer.code === "no_patient";
}

/** Whether the pseudonym that was typed for a file that names no patient is another patient's. */
export function lacksOwnName(answer) {
  return answer.code === "pseudonym_taken";
}

/** The phase that is chosen beside a pseudonym. */
const phaseBeside = (input) => input.parentElement.querySelector("select");

/** A reason without the name of its file, so that files with one reason share a line. */
export function withoutName(reason, file) {
  if (reason.startsWith(`${file}: `)) return reason.slice(file.length + 2);
  return reason.startsWith(`${file} `) ? `The file${reason.slice(file.length)}` : reason;
}

function unknown(status) {
  const why = status ? `What answered (${status}) did not say what became of these files` : "The server could not be reached, or its answer was lost";
  return `${why}, so they may have been stored. They are still held here. Sending them again stores nothing twice: what is here already is named.`;
}

const PASSED_OVER = "Indexes of discs and what file managers leave behind hold no images.";

/** What became of the files: one line for each case, each reason, and what is held. */
class Lines {
  #groups = new Map();

  constructor(root) {
    this.root = root;
    this.list = root.querySelector("[data-lines]");
    this.bar = root.querySelector("[data-total]");
    this.summary = root.querySelector("[data-summary]");
    this.clear = root.querySelector("[data-clear]");
    this.said = root.querySelector("[data-said]");
    this.#count();
    this.clear.addEventListener("click", () => {
      for (const [key, group] of this.#groups) if (!group.held) this.#drop(key); // files stay
      this.#hideIfEmpty();
    });
  }

  #count() { this.counts = { total: 0, accepted: 0, known: 0, refused: 0, passed: 0, held: 0, unsent: 0, unanswered: 0 }; }

  #drop(key) {
    this.#groups.get(key)?.line.remove();
    this.#groups.delete(key);
  }

  #hideIfEmpty() { if (this.#groups.size === 0) { this.root.hidden = true; this.#count(); } }

  begin(files) {
    if (this.root.hidden) { this.root.hidden = false; this.#count(); }
    this.counts.total += files;
  }

  /** The line of a group, made when it is first needed. */
  #group(key, template = "upload-line") {
    let group = this.#groups.get(key);
    if (!group) {
      const line = document.getElementById(template).content.firstElementChild.cloneNode(true);
      group = { line, files: [], known: 0, warnings: new Map(), held: null, letGo: () => {} };
      this.#groups.set(key, group);
      this.list.append(line);
      line.querySelector("[data-dismiss]").addEventListener("click", () => {
        group.letGo();
        this.#drop(key);
        this.#hideIfEmpty();
      });
    }
    return group;
  }

  #mark(group, icon, kind, name, state) {
    const { line } = group;
    line.className = `line line--${kind}`;
    line.querySelector("[data-icon], .icon").replaceWith(
      document.getElementById(`icon-${icon}`).content.firstElementChild.cloneNode(true),
    );
    this.#call(line, name);
    line.querySelector("[data-state]").replaceChildren(...state);
  }

  #call(line, name) {
    line.querySelector("[data-name]").textContent = name;
    line.querySelector("[data-dismiss]").setAttribute("aria-label", `Dismiss ${name}`);
  }

  #list(group, least = 2) {
    const { files } = group;
    const box = group.line.querySelector("[data-files]");
    box.hidden = files.length < least;
    box.querySelector("summary").textContent = count(files.length);
    box.querySelector("ul").replaceChildren(...files.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
  }

  #detail(group, texts) {
    const words = group.line.querySelector("[data-detail]");
    words.replaceChildren(...texts.map((text) => {
      const line = document.createElement("span");
      line.className = "line__said";
      line.textContent = text;
      return line;
    }));
    words.hidden = texts.length === 0;
  }

  /** name: the pseudonym of its case. */
  accepted(answer, name) {
    const group = this.#group(`case ${answer.case_url}`);
    group.files.push(answer.file);
    group.url = answer.case_url;
    group.name = name;
    group.phase = answer.contrast_phase;
    group.phaseWarning = answer.phase_warning;
    this.counts.accepted += 1;
    if (answer.known) { group.known += 1; this.counts.known += 1; }
    for (const text of new Set(answer.warnings)) {
      if (text !== answer.phase_warning) group.warnings.set(text, (group.warnings.get(text) ?? 0) + 1);
    }
    this.#showCase(group);
  }

  #showCase(group) {
    const link = document.createElement("a");
    link.href = group.url;
    link.textContent = "open";
    const total = group.files.length;
    const texts = [...group.warnings].map(([text, files]) => (
      total > 1 && files < total ? `${files} of ${count(total)}: ${text}` : text
    ));
    if (group.phaseWarning) texts.push(group.phaseWarning);
    if (group.phaseRefused) texts.unshift(group.phaseRefused);
    if (group.known) {
      const all = group.known === total;
      const which = all ? `All ${total} were` : `${group.known} of ${total} were`;
      texts.unshift(total === 1
        ? "It was here already and stays as it is, pseudonym and phase included."
        : `${which} here already and stay as they are, pseudonym and phase included.`);
    }
    this.#mark(group, texts.length ? "warning" : "ok", texts.length ? "warned" : "accepted",
      group.name, [`${count(total)} accepted, `, link]);
    this.#detail(group, texts);
    this.#list(group, 1);
    this.#showPhase(group);
  }

  /** The phase of one case, which may be another than that of the rest of the upload. */
  #showPhase(group) {
    const { name } = group;
    const box = group.line.querySelector("[data-phase]");
    const select = box.querySelector("select");
    box.hidden = false;
    select.value = group.phase;
    select.setAttribute("aria-label", `Contrast phase of ${name}`);
    select.onchange = async () => {
      select.disabled = true;
      const wanted = new URLSearchParams({ contrast_phase: select.value, before: group.phase });
      const { status, body } = await send(`${group.url}/phase`, wanted, () => {});
      if (status === 200) {
        group.phase = body.contrast_phase;
        group.phaseWarning = body.phase_warning;
        group.phaseRefused = "";
      } else {
        const why = status === 0 ? "The server could not be reached, so it is not known whether this was stored." : body.detail;
        group.phaseRefused = `Contrast phase: ${why ?? `the server answered ${status}.`}`;
      }
      select.disabled = false;
      this.#showCase(group);
      select.focus();
      this.said.textContent = group.phaseRefused || `The contrast phase of ${name} is ${group.phase} now.`;
      await refreshWorkList();
    };
  }

  refused(file, reason) {
    const text = withoutName(reason, file);
    const group = this.#group(`reason ${text}`);
    group.files.push(file);
    this.counts.refused += 1;
    const files = group.files.length;
    this.#mark(group, "danger", "refused", files === 1 ? file : count(files), ["refused"]);
    this.#detail(group, [text]);
    this.#list(group);
    this.list.prepend(group.line);
  }

  /** An object that marks lesions: what became of it, in the server's words. */
  marks(answer) {
    const group = this.#group(`marks ${answer.file}`);
    group.files.push(answer.file);
    this.counts.accepted += 1;
    if (answer.known) this.counts.known += 1;
    const state = ["accepted"];
    if (answer.case_url) {
      const link = document.createElement("a");
      link.href = answer.case_url;
      link.textContent = "open";
      state.push(", ", link);
    }
    const whole = answer.lesions > 0 && !answer.known;
    this.#mark(group, whole ? "ok" : "warning", whole ? "accepted" : "warned", answer.file, state);
    this.#detail(group, answer.words);
    this.#list(group);
  }

  /** What came with the images and is none: an index of a disc, litter of a file manager. */
  passedOver(file) {
    const group = this.#group("passed over");
    group.files.push(file);
    this.counts.passed += 1;
    const files = group.files.length;
    this.#mark(group, "info", "passed", files === 1 ? file : count(files), ["passed over"]);
    this.#detail(group, [PASSED_OVER]);
    this.#list(group);
  }

  /**
   * Files that were not taken, or of which that is not known: held with what goes with them, and sent
   * again by a button.
   */
  unsent(items, fields, words, { known, signIn, again }) {
    const key = `unsent ${words}`;
    const which = known ? "unsent" : "unanswered";
    const group = this.#group(key);
    group.batches = [...(group.batches ?? []), { items, fields }];
    group.files.push(...items.map((item) => item.name));
    group.held = true;
    group.letGo = () => { this.counts[which] -= group.files.length; };
    this.counts[which] += items.length;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button--small";
    button.textContent = "Send again";
    button.addEventListener("click", () => {
      group.letGo();
      this.counts.total -= group.files.length;
      this.#drop(key);
      for (const batch of group.batches) again(batch.items, batch.fields);
    });
    const state = [known ? "not sent " : "no answer ", button];
    if (signIn) {
      const link = document.createElement("a");
      link.href = rooted("/sessions/new");
      link.target = "_blank";
      link.dataset.signIn = "";
      link.textContent = "sign in";
      state.splice(1, 0, link, " ");
    }
    this.#mark(group, "danger", "refused", count(group.files.length), state);
    this.#detail(group, [words]);
    this.#list(group);
    this.list.prepend(group.line);
  }

  /**
   * Ask once for the pseudonyms of files that name no patient.
   * groups: Map key → {label, caution, items, and of a pseudonym that was refused: typed, words};
   * send(items, fields) sends them again.
   */
  ask(groups, send, phase) {
    const group = this.#group("ask", "upload-ask");
    const { line } = group;
    group.held = true;
    group.asked ??= new Map();
    let added = 0;
    for (const [key, { label, caution, items, typed = "", words = "" }] of groups) {
      const held = group.asked.get(key) ?? { label, caution, items: [], typed, phase: typed ? phase : undefined };
      held.words = words;
      const same = (one, two) => one.name === two.name && one.size === two.size;
      const fresh = items.filter((item) => !held.items.some((one) => same(one, item)));
      this.counts.total -= items.length - fresh.length;
      held.items.push(...fresh);
      added += fresh.length;
      group.asked.set(key, held);
    }
    this.counts.held += added;
    const total = () => [...group.asked.values()].reduce((sum, one) => sum + one.items.length, 0);
    group.letGo = () => { this.counts.held -= total(); };
    const many = group.asked.size > 1;
    this.#mark(group, "warning", "refused", `${count(total())} ${total() === 1 ? "names" : "name"} no patient`, []);
    line.querySelector("[data-ask-text]").textContent = many
      ? `They are of ${group.asked.size} studies. Give each a pseudonym, the same one only for the same patient; the files are still held here.`
      : "Give the patient a pseudonym; the files are still held here.";
    const words = [...new Set([...group.asked.values()].map((held) => held.words).filter(Boolean))].join(" ");
    const problem = line.querySelector("[data-ask-problem]");
    problem.textContent = words;
    problem.hidden = !words;
    const fields = line.querySelector("[data-ask-fields]");
    const select = line.querySelector("#ask-phase");
    for (const input of fields.querySelectorAll("input")) {
      const held = group.asked.get(input.dataset.key);
      if (held) { held.typed = input.value; held.phase = phaseBeside(input).value; }
    }
    fields.replaceChildren(...[...group.asked].map(([key, held], number) => {
      const field = document.getElementById("upload-ask-field").content.firstElementChild.cloneNode(true);
      const input = field.querySelector("input");
      input.id = `ask-${number}`;
      input.dataset.key = key;
      input.value = held.typed;
      const own = phaseBeside(input);
      own.hidden = !many;
      own.value = held.phase ?? (group.bound ? select.value : phase);
      own.setAttribute("aria-label", `Contrast phase of ${held.label}`);
      field.querySelector("label").htmlFor = input.id;
      field.querySelector("[data-ask-label]").textContent = many ? `Pseudonym of ${held.label}` : "Pseudonym";
      field.querySelector("[data-ask-hint]").textContent = `${count(held.items.length)}: ${held.label}${held.caution && (held.items.length > 1 || key.startsWith("zip ")) ? `. ${held.caution}` : ""}`;
      return field;
    }));
    line.querySelector("[data-ask-all]").hidden = !many;
    select.value = many && group.bound ? select.value : phaseBeside(fields.querySelector("input")).value;
    if (!group.bound) {
      group.bound = true;
      select.addEventListener("change", () => {
        for (const input of fields.querySelectorAll("input")) phaseBeside(input).value = select.value;
      });
      line.querySelector("form").addEventListener("submit", (event) => {
        event.preventDefault();
        for (const input of [...fields.querySelectorAll("input")]) {
          const pseudonym = input.value.trim();
          if (!pseudonym) continue;
          const { key } = input.dataset;
          const { items, label, caution } = group.asked.get(key);
          group.asked.delete(key);
          this.counts.held -= items.length;
          this.counts.total -= items.length;
          send(items, { pseudonym, contrast_phase: phaseBeside(input).value, asked: { key, label, caution } });
        }
        if (group.asked.size === 0) this.#drop("ask");
        else this.ask(new Map(), send, phase);
      });
    }
    this.list.prepend(line);
    if (added && !document.activeElement?.closest("[data-ask-fields]")) fields.querySelector("input")?.focus();
  }

  /** Whether files would be lost with this page: held until they have a pseudonym, or can be sent. */
  get holds() { return this.counts.held + this.counts.unsent + this.counts.unanswered > 0; }

  tell(share, busy) {
    const { total, accepted, known, refused, passed, held, unsent, unanswered } = this.counts;
    this.bar.value = share;
    this.bar.hidden = !busy;
    this.clear.hidden = busy || [...this.#groups.values()].every((group) => group.held);
    const told = [
      accepted && `${count(accepted)} accepted`,
      known && `${known} of ${known === 1 ? "it was" : "them were"} here already`,
      refused && `${refused} refused`,
      passed && `${passed} passed over`,
      held && `${held} ${held === 1 ? "waits" : "wait"} for a pseudonym`,
      unsent && `${unsent} not sent`,
      unanswered && `${unanswered} without an answer`,
    ].filter(Boolean);
    const text = busy
      ? `Uploading ${count(total)}: ${accepted + refused + passed + held + unsent + unanswered} done`
      : told.join(", ") || "Nothing was sent";
    this.summary.textContent = text;
    if (!busy) this.said.textContent = text;
  }
}

class Uploader {
  #queue = [];
  #running = false;
  #bytes = { done: 0, total: 0 };

  constructor(form, lines) {
    this.form = form;
    this.lines = lines;
    this.maxBytes = Number(form.dataset.maxMb) * 1e6;
    window.addEventListener("beforeunload", (event) => { if (this.#running || lines.holds) event.preventDefault(); });
  }

  /** items: [{file, name}]; fields: what goes with them, else what the form says now. */
  take(items, fields = null) {
    const with_ = fields ?? {
      contrast_phase: this.form.elements.contrast_phase.value,
      pseudonym: this.form.elements.pseudonym.value,
    };
    const taken = [];
    this.lines.begin(items.length);
    for (const { file, name } of items) {
      if (file.size === 0) { this.lines.refused(name, "The file is empty (0 bytes). Export it again."); continue; }
      if (file.size > this.maxBytes) {
        this.lines.refused(name, `The file has ${Math.ceil(file.size / 1e6)} MB; at most ${this.form.dataset.maxMb} MB are taken. Send the series in parts.`);
        continue;
      }
      taken.push({ file, name, size: file.size });
      this.#bytes.total += file.size;
    }
    const made = batches(taken, { maxBytes: Math.min(MAX_BYTES, this.maxBytes * 0.9) });
    this.#queue.push(...made.map((batch) => ({ batch, fields: with_ })));
    this.#run();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    this.lines.tell(0, this.#queue.length > 0);
    const before = this.lines.counts.accepted;
    while (this.#queue.length > 0) await this.#batch(this.#queue.shift());
    this.#running = false;
    this.#bytes = { done: 0, total: 0 };
    this.lines.tell(1, false);
    if (this.lines.counts.accepted > before) await refreshWorkList();
  }

  async #batch({ batch, fields }) {
    const form = new FormData();
    for (const name of ["contrast_phase", "pseudonym"]) form.append(name, fields[name]);
    for (const { file, name } of batch) form.append("files", file, name);
    const size = batch.reduce((sum, item) => sum + item.size, 0);
    const { status, body } = await send(this.form.action, form, (share) => {
      this.lines.tell((this.#bytes.done + size * share) / this.#bytes.total, true);
    });
    this.#bytes.done += size;
    await this.#settle(batch, fields, status, body);
    this.lines.tell(this.#bytes.done / this.#bytes.total, true);
  }

  async #settle(batch, fields, status, body) {
    const accepted = body.accepted ?? [];
    const names = new Map((body.cases ?? []).map((one) => [one.case_url, one.pseudonym]));
    const refused = body.refused ?? [];
    const marks = body.marks ?? [];
    const passed = (body.passed_over ?? []).map((file) => ({ file }));
    const known = isKnown(status, body);
    const detail = body.detail ?? `The server answered ${status}. Nothing of these files was stored.`;
    if (!known || [401, 403, 408, 429].includes(status) || status >= 500) {
      this.lines.unsent(batch, fields, known ? detail : unknown(status), {
        known, signIn: status === 401, again: (...more) => this.take(...more),
      });
      return;
    }
    if (status >= 400 && refused.length === 0) {
      if (fields.asked) { // the pseudonym itself was refused: ask again, with the reason
        const { key, label, caution } = fields.asked;
        this.#ask(new Map([[key, { label, caution, items: batch, typed: fields.pseudonym, words: detail }]]), fields);
      } else for (const { name } of batch) this.lines.refused(name, detail);
      return;
    }
    const nameless = new Map();
    const misnamed = new Map();
    const words = new Set();
    for (const item of batch) {
      const good = answersFor(item.name, accepted);
      const marking = answersFor(item.name, marks);
      const bad = answersFor(item.name, refused);
      for (const answer of good) this.lines.accepted(answer, names.get(answer.case_url));
      const idle = answersFor(item.name, passed);
      for (const answer of marking) this.lines.marks(answer);
      const answered = good.length + marking.length + bad.length + idle.length;
      for (const { file } of idle) this.lines.passedOver(file);
      this.lines.begin(Math.max(0, answered - 1)); // a zip is as many as are in it
      const lacking = bad.filter(lacksPatient);
      const another = bad.filter(lacksOwnName);
      for (const answer of bad) {
        if (!lacking.includes(answer) && !another.includes(answer)) this.lines.refused(answer.file, answer.reason);
      }
      for (const [groups, answers] of [[nameless, lacking], [misnamed, another]]) {
        if (answers.length > 0 && await hold(groups, item, answers)) {
          this.lines.begin(1 - answers.length); // the zip is held in one piece
        }
      }
      for (const { file, reason } of another) words.add(withoutName(reason, file));
      if (answered === 0) {
        this.lines.refused(item.name, "The server did not say what became of this file. Look for it in the list below.");
      }
    }
    if (nameless.size > 0) this.#ask(nameless, fields);
    for (const group of misnamed.values()) Object.assign(group, { typed: fields.pseudonym, words: [...words].join(" ") });
    if (misnamed.size > 0) this.#ask(misnamed, fields);
  }

  #ask(groups, fields) {
    this.lines.ask(groups, (items, more) => this.take(items, more), fields.contrast_phase);
  }
}

/**
 * Put an item's nameless files into the group of their study; of a zip, those in it one by one.
 * Resolves to whether the item is held in one piece although there are several files in it.
 */
async function hold(groups, item, answers) {
  const own = baseOf(item.name);
  const inZip = answers.some((answer) => answer.file.startsWith(`${own}/`));
  const inside = inZip ? await filesInZip(item.file) : null;
  if (inZip && !inside) {
    const caution = "All go under one pseudonym. If they are of several patients, unpack it and drop the folders";
    put(groups, `zip ${item.name}`, own, item, caution);
    return true;
  }
  for (const answer of answers) {
    let held = item;
    const unpack = inside?.get(answer.file.slice(own.length + 1));
    if (inZip && !unpack) { put(groups, `zip ${item.name}`, own, item); continue; }
    if (unpack) {
      const content = await unpack();
      held = { file: new File([content], baseOf(answer.file)), name: answer.file, size: content.size };
    }
    const folder = held.name.split("/").slice(0, -1).join("/");
    const uid = await studyOf(held.file);
    const caution = uid ? "" : "They name no study either, so all of them count as one patient's; drop the files of each patient on their own";
    put(groups, uid ? `study ${uid}` : `folder ${folder}`, folder || baseOf(held.name), held, caution);
  }
  return false;
}

function put(groups, key, label, item, caution = "") {
  if (!groups.has(key)) groups.set(key, { label, caution, items: [] });
  const { items } = groups.get(key);
  if (!items.includes(item)) items.push(item);
}

/** The table anew, without losing the lines above it, nor what is ticked, typed or has the focus in it. */
async function refreshWorkList() {
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const selector of ["#worklist", ".page-head"]) {
      const next = fresh.querySelector(selector);
      const old = document.querySelector(selector);
      if (next && old) replace(old, next);
    }
  } catch { /* the list stays as it was; a reload shows it */ }
}

/** What names an element on both pages. */
function nameOn(element) {
  for (const name of ["id", "value", "href"]) {
    const text = element.getAttribute(name);
    if (text) return `${element.localName}[${name}="${CSS.escape(text)}"]`;
  }
  return null;
}

function replace(old, next) {
  const focused = old.contains(document.activeElement) ? nameOn(document.activeElement) : null;
  const ticked = [...old.querySelectorAll("input[name=case]:checked")].map((box) => box.value);
  const typed = old.querySelector("[name=search]")?.value;
  old.replaceWith(next);
  const boxes = [...next.querySelectorAll("input[name=case]")].filter((box) => ticked.includes(box.value));
  for (const box of boxes) box.checked = true;
  const search = next.querySelector("[name=search]");
  if (search && typed !== undefined) search.value = typed;
  if (focused) next.querySelector(focused)?.focus({ preventScroll: true });
  next.dispatchEvent(new CustomEvent("worklist:new", { bubbles: true, detail: { gone: ticked.length - boxes.length } }));
}

function start(form) {
  const uploader = new Uploader(form, new Lines(document.getElementById("upload-lines")));
  const named = (list) => [...list].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
  const input = form.querySelector("input[name=files]");
  const folder = form.querySelector("[data-folder]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.files.length > 0) uploader.take(named(input.files));
    form.querySelector("input[name=files]").value = "";
  });
  folder?.addEventListener("change", () => { uploader.take(named(folder.files)); folder.value = ""; });

  let veil = null;
  let depth = 0;
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;
  const cover = (on) => {
    if (on && !veil) {
      veil = document.createElement("div");
      veil.className = "drop-veil";
      veil.textContent = "Drop to upload";
      document.body.append(veil);
    } else if (!on) { veil?.remove(); veil = null; depth = 0; }
  };
  document.addEventListener("dragenter", (event) => { if (holdsFiles(event)) { depth += 1; cover(true); } });
  document.addEventListener("dragleave", (event) => { if (holdsFiles(event) && (depth -= 1) <= 0) cover(false); });
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    cover(false);
    uploader.take(await dropped(event.dataTransfer));
  });
}

const form = typeof document === "undefined" ? null : document.querySelector("[data-upload]");
if (form) start(form);
