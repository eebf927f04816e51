// Copies an address that stands beside its button (data-copied, data-copy), with the server's name before it.
// Where the browser lets no page copy, as over plain HTTP, the address is selected, for Ctrl + C. What
// happened is said as well, to who cannot see the button (#copy-says).

const say = (text) => { document.getElementById("copy-says").textContent = text; };

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const beside = button.parentElement.querySelector("[data-copied]");
  const words = button.firstChild;
  try {
    await navigator.clipboard.writeText(new URL(beside.textContent.trim(), location.href).href);
    words.textContent = "Copied";
    say(`Copied: ${beside.textContent.trim()}`);
  } catch {
    getSelection().selectAllChildren(beside);
    words.textContent = "Selected: Ctrl + C";
    say("This page may not copy. The address is selected: press Ctrl and C.");
  }
  setTimeout(() => { words.textContent = "Copy"; }, 3000);
});
