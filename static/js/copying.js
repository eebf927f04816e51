// Copies an address that stands beside its button (data-copied, data-copy), with the server's name before it.
// Where the browser lets no page copy, as over plain HTTP, the address is selected, for Ctrl + C.

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const beside = button.parentElement.querySelector("[data-copied]");
  const words = button.firstChild;
  try {
    await navigator.clipboard.writeText(new URL(beside.textContent.trim(), location.href).href);
    words.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(beside);
    words.textContent = "Selected: Ctrl + C";
  }
  setTimeout(() => { words.textContent = "Copy"; }, 3000);
});
