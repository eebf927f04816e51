// `?` on every page: what the page is for, and its keys. The desk shows a list of its own.

import { openDialog } from "./dialogs.js";
import { bind, listKeys } from "./hotkeys.js";

const dialog = document.getElementById("keys");

const OF_EVERY_PAGE = [
  { group: "Every page", label: "This list", shown: ["?"] },
  { group: "Every page", label: "Next, previous control", shown: ["Tab"] },
  { group: "Every page", label: "Next, previous control", shown: ["Shift", "Tab"] },
  { group: "Every page", label: "Close this list", shown: ["Esc"] },
];

/** Fill the list anew: the keys that are bound, and what this page does by other means. */
export function listPageKeys(extra = []) {
  listKeys(document.getElementById("keys-list"), [...extra, ...OF_EVERY_PAGE]);
}

if (dialog) {
  bind({ "?": { run: () => openDialog(dialog) } });
  listPageKeys();
}
