// The page before trial 1: the bar that is matched to a card, and what the browser says of the screen.

const form = document.querySelector("[data-conduct]");

if (form) {
  const bar = form.querySelector("[data-bar]");
  const card = form.querySelector("[data-card]");
  const words = form.querySelector("[data-card-words]");
  const stored = form.querySelector("[data-card-px]");
  const CARD_MM = 85.6; // ISO/IEC 7810 ID-1

  const show = () => { bar.setAttribute("width", card.value); };
  card.addEventListener("input", () => {
    show();
    stored.value = card.value;
    words.textContent = `${card.value} px: 1 px is ${(CARD_MM / card.value).toFixed(3)} mm here`;
  });
  show();

  form.addEventListener("submit", () => {
    form.elements.screen.value = JSON.stringify({
      dpr: window.devicePixelRatio,
      screen_width: window.screen.width,
      screen_height: window.screen.height,
      width: window.innerWidth,
      height: window.innerHeight,
      colour_depth: window.screen.colorDepth,
      browser: navigator.userAgent,
    });
  });
}
