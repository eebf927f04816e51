// Starts the reading desk of the page.

import { Desk } from "./desk/desk.js";
import { browserStorage, tabStorage } from "./desk/queue.js";
import { signInHere } from "./signing.js";

new Desk({
  element: document.querySelector("[data-desk]"),
  keyList: document.querySelector("#desk-keys"),
  storage: browserStorage(),
  session: tabStorage(),
  page: location,
  signIn: signInHere,
}).start();
