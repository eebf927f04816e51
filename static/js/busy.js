// Forms whose work takes more than a second say so: data-busy holds the words.

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-busy]")) return;
  const note = document.createElement("div");
  note.className = "progress busy";
  note.setAttribute("role", "status");
  const words = document.createElement("span");
  words.textContent = `${form.dataset.busy} …`;
  const bar = document.createElement("progress");
  bar.className = "progress__bar";
  bar.setAttribute("aria-label", form.dataset.busy);
  note.append(words, bar);
  const timer = setTimeout(() => form.append(note), 300);
  const over = () => { clearTimeout(timer); note.remove(); };
  window.addEventListener("pageshow", over, { once: true });
  form.addEventListener("form:refused", over, { once: true });
});
