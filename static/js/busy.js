// Forms whose work takes more than a second say so: data-busy of the form, or of the button that was
// pressed, holds the words.

document.addEventListener("submit", (event) => {
  const form = event.target;
  const told = event.submitter?.dataset.busy ?? form.dataset.busy;
  if (!told) return;
  const note = document.createElement("div");
  note.className = "progress busy";
  note.setAttribute("role", "status");
  const words = document.createElement("span");
  words.textContent = `${told} …`;
  const bar = document.createElement("progress");
  bar.className = "progress__bar";
  bar.setAttribute("aria-label", told);
  note.append(words, bar);
  const timer = setTimeout(() => form.append(note), 300);
  const over = () => { clearTimeout(timer); note.remove(); };
  window.addEventListener("pageshow", over, { once: true });
  form.addEventListener("form:refused", over, { once: true });
});
