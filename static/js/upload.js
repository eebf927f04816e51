// Upload: drop files or folders anywhere on the page, or choose them; they go in batches, and every
// file keeps its own line (waiting, sent, accepted, or refused and why) until it is dismissed.

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

/** The server's answers that are about this file: its own, or those of the files in it (a zip). */
export function answersFor(name, answers) {
  const own = baseOf(name);
  return answers.filter((answer) => answer.file === own || answer.file === name || answer.file.startsWith(`${own}/`));
}

class Lines {
  constructor(root) {
    this.root = root;
    this.list = root.querySelector("[data-lines]");
    this.bar = root.querySelector("[data-total]");
    this.summary = root.querySelector("[data-summary]");
    this.clear = root.querySelector("[data-clear]");
    this.said = root.querySelector("[data-said]");
    this.counts = { total: 0, accepted: 0, refused: 0 };
    this.clear.addEventListener("click", () => { this.list.replaceChildren(); root.hidden = true; });
  }

  add(name) {
    if (this.root.hidden) { this.root.hidden = false; this.counts = { total: 0, accepted: 0, refused: 0 }; }
    const line = document.getElementById("upload-line").content.firstElementChild.cloneNode(true);
    line.querySelector("[data-name]").textContent = name;
    line.querySelector("[data-dismiss]").setAttribute("aria-label", `Dismiss ${name}`);
    this.list.append(line);
    this.counts.total += 1;
    this.mark(line, "clock", "waiting");
    return line;
  }

  mark(line, icon, text, { kind = "", detail = "", url = "" } = {}) {
    line.className = kind ? `line line--${kind}` : "line";
    line.querySelector("[data-icon], .icon")?.replaceWith(
      document.getElementById(`icon-${icon}`).content.firstElementChild.cloneNode(true),
    );
    const state = line.querySelector("[data-state]");
    state.textContent = text;
    if (url) {
      const link = document.createElement("a");
      link.href = url;
      link.textContent = "open";
      state.append(", ", link);
    }
    const words = line.querySelector("[data-detail]");
    words.textContent = detail;
    words.hidden = !detail;
    line.querySelector("[data-dismiss]").hidden = !["accepted", "warned", "refused"].includes(kind);
  }

  accepted(line, answer) {
    this.counts.accepted += 1;
    const warnings = [...new Set(answer.warnings)].join(" ");
    this.mark(line, warnings ? "warning" : "ok", answer.text ?? "accepted",
      { kind: warnings ? "warned" : "accepted", detail: warnings, url: answer.url });
  }

  refused(line, reason) {
    this.counts.refused += 1;
    this.mark(line, "danger", "refused", { kind: "refused", detail: reason });
    this.list.prepend(line);
  }

  tell(share, busy) {
    const { total, accepted, refused } = this.counts;
    this.bar.value = share;
    this.bar.hidden = !busy;
    this.clear.hidden = busy;
    const text = busy
      ? `Uploading ${total} ${total === 1 ? "file" : "files"}: ${accepted + refused} done`
      : `${accepted} of ${total} ${total === 1 ? "file" : "files"} accepted${refused ? `, ${refused} refused` : ""}`;
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
  }

  /** items: [{file, name}] */
  take(items) {
    const taken = [];
    for (const { file, name } of items) {
      const line = this.lines.add(name);
      if (file.size === 0) { this.lines.refused(line, "The file is empty (0 bytes). Export it again."); continue; }
      if (file.size > this.maxBytes) {
        this.lines.refused(line, `The file has ${Math.ceil(file.size / 1e6)} MB; at most ${this.form.dataset.maxMb} MB are taken. Send the series in parts.`);
        continue;
      }
      taken.push({ file, name, line, size: file.size });
      this.#bytes.total += file.size;
    }
    this.#queue.push(...batches(taken, { maxBytes: Math.min(MAX_BYTES, this.maxBytes * 0.9) }));
    this.#run();
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    const warn = (event) => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    this.lines.tell(0, this.#queue.length > 0);
    while (this.#queue.length > 0) await this.#batch(this.#queue.shift());
    window.removeEventListener("beforeunload", warn);
    this.#running = false;
    this.#bytes = { done: 0, total: 0 };
    this.lines.tell(1, false);
    if (this.lines.counts.accepted > 0) await refreshWorkList();
  }

  async #batch(batch) {
    const form = new FormData();
    for (const name of ["contrast_phase", "pseudonym"]) form.append(name, this.form.elements[name]?.value ?? "");
    for (const { file, name } of batch) form.append("files", file, name);
    const size = batch.reduce((sum, item) => sum + item.size, 0);
    const { status, body } = await send(this.form.action, form, (share) => {
      const percent = Math.round(share * 100);
      for (const { line } of batch) this.lines.mark(line, "clock", share < 1 ? `sending ${percent} %` : "reading");
      this.lines.tell((this.#bytes.done + size * share) / this.#bytes.total, true);
    });
    this.#bytes.done += size;
    this.#settle(batch, status, body);
    this.lines.tell(this.#bytes.done / this.#bytes.total, true);
  }

  #settle(batch, status, body) {
    if (status === 0) {
      for (const { line } of batch) this.lines.refused(line, "The server could not be reached. Nothing of this file was stored; send it again.");
      return;
    }
    const accepted = body.accepted ?? [];
    const refused = body.refused ?? [];
    const fallback = body.detail ?? `The server answered ${status}. Nothing of this file was stored.`;
    for (const { name, line } of batch) {
      const bad = answersFor(name, refused);
      const good = answersFor(name, accepted);
      if (good.length > 0) {
        const cases = new Set(good.map((answer) => answer.case_url));
        this.lines.accepted(line, {
          warnings: [
            ...good.flatMap((answer) => answer.warnings),
            ...bad.map((answer) => `Refused: ${answer.file}. ${answer.reason}`),
          ],
          url: good[0].case_url,
          text: good.length > 1 ? `${good.length} files accepted into ${cases.size} ${cases.size === 1 ? "case" : "cases"}` : "accepted",
        });
      } else if (bad.length > 0) {
        this.lines.refused(line, bad.length === 1 ? bad[0].reason : bad.map((answer) => `${answer.file}: ${answer.reason}`).join(" "));
      } else if (status >= 400) {
        this.lines.refused(line, fallback);
      } else {
        this.lines.refused(line, "The server did not say what became of this file. Look for it in the list below.");
      }
    }
  }
}

/** The table anew, without losing the lines above it. */
async function refreshWorkList() {
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const selector of ["#worklist", ".page-head"]) {
      const next = fresh.querySelector(selector);
      if (next) document.querySelector(selector)?.replaceWith(next);
    }
  } catch { /* the list stays as it was; a reload shows it */ }
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
