// Sets the theme before the first paint, and minds the toggle. A classic script in <head>, because a
// module would run after the first paint.
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  function stored() {
    try { return localStorage.getItem("hepatica-theme"); } catch { return null; }
  }

  function show(theme) {
    root.dataset.theme = theme;
    for (const label of document.querySelectorAll("[data-theme-label]")) {
      label.textContent = theme === "dark" ? "Light" : "Dark";
    }
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.setAttribute("aria-label", theme === "dark" ? "Light theme" : "Dark theme");
    }
  }

  // A page whose scripts did not come looks alive and is not: it becomes the page without scripts.
  window.addEventListener("error", ({ target }) => {
    if (!(target instanceof HTMLScriptElement)) return;
    root.classList.remove("js");
    const told = () => document.body.classList.add("body--scriptless");
    if (document.body) told(); else document.addEventListener("DOMContentLoaded", told);
  }, true);

  show(stored() === "light" ? "light" : "dark");
  document.addEventListener("DOMContentLoaded", () => {
    show(root.dataset.theme);
    document.addEventListener("click", (event) => {
      if (!event.target.closest("[data-theme-toggle]")) return;
      const theme = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("hepatica-theme", theme); } catch { /* private mode: this page only */ }
      show(theme);
    });
  });
})();
