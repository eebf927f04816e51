// The page before trial 1: the bar that is matched to a card, and what the browser says of the screen.

const form = document.querySelector("[data-conduct]");

if (form) {
  const bar = form.querySelector("[data-bar]");
  const card = form.querySelector("[data-card]");
  const words = form.querySelector("[data-card-words]");
  const stored = form.querySelector("[data-card-px]");
  const CARD_MM = 85.6; // ISO/IEC 7810 ID-1

  // Images of a promised size need room beside the keys of the desk; there the window is measured itself.
  const room = form.querySelector("[data-room-words]");
  const tellRoom = () => {
    if (!room || !stored.value) return;
    const { promised, beside, across, down } = form.dataset;
    const mm = CARD_MM / Number(stored.value);
    const roomFor = (width, height) => Math.floor(Math.max(0, Math.min((width - across) / beside, height - down)) * mm);
    const here = roomFor(window.innerWidth, window.innerHeight);
    const whole = roomFor(window.screen.width, window.screen.height);
    const isEnough = (mmOfRoom) => mmOfRoom >= Number(promised);
    room.hidden = isEnough(here);
    room.textContent = isEnough(here) ? "" : `The images are shown ${promised} mm wide. In this window there is room for ${here} mm beside the keys: ${isEnough(whole)
      ? "make it larger before you read, or fill the screen with it (F11; on a Mac Control, Command and F)."
      : `even the whole screen has room for ${whole} mm, so read on a larger one.`}`;
  };
  window.addEventListener("resize", tellRoom);

  const show = () => { bar.setAttribute("width", card.value); };
  card.addEventListener("input", () => {
    show();
    stored.value = card.value;
    words.textContent = `${card.value} px: 1 px is ${(CARD_MM / card.value).toFixed(3)} mm here`;
    tellRoom();
  });
  show();
  tellRoom();

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
