// What stands on the cover of the stage, and what is said of the answers that are kept.

import { DeskState } from "./states.js";

/** Why there is nothing to show. */
export const Wait = Object.freeze({
  network: "network", earlier: "earlier", decided: "decided", signedOut: "signed out", otherReader: "other reader",
});

const WAITS = {
  [Wait.network]: ["Waiting for the network", "Your answers are kept in this browser and are sent as soon as the server answers. Reading goes on by itself."],
  [Wait.earlier]: ["Sending answers", "Answers from an earlier visit are kept in this browser and are being sent."],
  [Wait.decided]: ["Going on", "Asking the server where the reading stands."],
};

const NOT_THE_READER = {
  [Wait.signedOut]: "You are signed out.",
  [Wait.otherReader]: "Somebody else is signed in in this browser.",
};

/**
 * [title, text, words of the button] of a state; null where no cover is put up.
 *
 * wait: a Wait; pause: {title, words}; pauseKey; feedback: of a practice image; refusal: {answer, reason,
 * hasNoRoom}; room: as of a View; answers: {kept: not sent, unsafe: how many of them the storage did not take, aside: set aside,
 * never sent, unsafeAside: how many of those it did not take}.
 */
export function coverOf(state, { wait, pause, pauseKey, feedback, refusal, room, ...answers }) {
  switch (state) {
    case DeskState.answered: return ["Practice", "Your answer is on its way."];
    case DeskState.told: return ["Practice", feedback, "Go on"];
    case DeskState.waiting: return WAITS[wait] ?? [
      "Waiting for your sign-in",
      `${NOT_THE_READER[wait]} ${whereAnswersAre(answers)} Reading goes on by itself as soon as its own reader is signed in.`,
    ];
    case DeskState.finished: return ["That was the last image", "The last answers are on their way. Keep this page open until they are saved."];
    case DeskState.paused: return [pause.title, `${pause.words} Press ${pauseKey.toUpperCase()} to go on. ${whereAnswersAre(answers)}`.trim()];
    case DeskState.refused: return ["An answer was not taken", refusalWords(refusal, answers), "Set it aside and go on"];
    case DeskState.cramped: return ["This window is too small", crampedWords(room)];
    case DeskState.aside: return ["This reading is open in another tab", "Two tabs at once would mix up the times. Go on there, or press Enter to read here instead.", "Read here"];
    default: return null;
  }
}

/** What is true of the answers when the reader goes away now. */
export function whereAnswersAre({ kept, unsafe, aside = 0, unsafeAside = 0 }) {
  const here = kept === 1 ? "1 answer is kept" : `${kept} answers are kept`;
  if (unsafe) return `${here} in this page and not sent yet, and this browser has no room for ${unsafe === 1 ? "one" : unsafe}: keep the page open until the server is back.`;
  if (kept) return `${here} in this browser and not sent yet. You can close it; open the reading in this same browser again, and they are sent.`;
  if (unsafeAside) return `Every answer so far is stored but ${aside === 1 ? "one that was" : `${aside} that were`} not taken and set aside; this browser has no room for ${unsafeAside === 1 ? "one" : unsafeAside}, which ${unsafeAside === 1 ? "goes" : "go"} with this page.`;
  if (aside) return `Every answer so far is stored but ${aside === 1 ? "one that was" : `${aside} that were`} not taken and set aside in this browser; you can close it and go on here later.`;
  return "Every answer so far is stored; you can close the browser and go on here later.";
}

/** promised: in mm; sidePx: of an image; beside: how many; width, height: the room there is, in px. */
function crampedWords({ promised, sidePx, beside, width, height } = {}) {
  const needed = beside > 1 ? `${beside} images of ${sidePx} px side by side` : `an image of ${sidePx} px`;
  return `Every image of this study is shown ${promised} mm wide. Here ${needed} would be cut off: there is room for ${width} × ${height} px. `
    + "Make the window larger, or fill the screen with it (F11; on a Mac Control, Command and F). "
    + "Reading goes on by itself then, and the keys that you gave stay. Where the whole screen is too small, read on a larger one.";
}

function refusalWords({ answer, reason, hasNoRoom = false }, { kept, unsafe }) {
  const given = wordsOf(answer);
  const after = kept - 1;
  const others = after ? ` So ${after === 1 ? "is 1 later answer" : `are ${after} later answers`}, not sent yet.` : "";
  if (hasNoRoom) return `${reason} This browser has no room to keep your answer (${given}) once it is set aside: it goes with this page. Write it down, then go on; what follows is sent then.`;
  const place = unsafe ? "page" : "browser";
  return `${reason} Your answer (${given}) is kept in this ${place}.${others} Set aside, it stays in this browser and is not sent; what follows is sent then.`;
}

/** The answers to every question that was asked. */
function wordsOf(answer) {
  const graded = Object.keys(answer).filter((name) => name.startsWith("grade_")).sort();
  const grades = graded.map((name) => `question ${name.slice("grade_".length)}: grade ${answer[name]}`);
  const sure = answer.class_confidence && `${answer.class_confidence} of 5 sure of it`;
  return [answer.rating && `rating ${answer.rating}`, answer.choice, ...grades, answer.lesion_class, sure].filter(Boolean).join(", ");
}
