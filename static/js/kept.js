// Answers in this browser that the server has not got. My readings says which readings have some; the
// last page of a reading, where no desk is that would, sends them. An answer without a reply may be
// stored already: under its key it is stored once, however often it is sent.

import { browserStorage, Queue } from "./desk/queue.js";
import { Sending, Trouble } from "./desk/sending.js";
import { rooted } from "./root.js";

const WHY = {
  [Trouble.none]: "being sent",
  [Trouble.away]: "not sent yet: the server cannot be reached, and is tried again",
  [Trouble.signedOut]: "not sent yet: sign in again, in another tab",
  [Trouble.otherReader]: "not sent yet: somebody else is signed in here",
};
const answers = (many) => `${many} ${many === 1 ? "answer is" : "answers are"} kept in this browser and `;

function tell(place, queue, { why = "", link = null } = {}) {
  const [kept, aside] = [queue.length, queue.aside().length];
  const told = [];
  if (kept) told.push(link ? `${answers(kept)}not sent yet; ` : answers(kept) + why);
  if (kept && link) told.push(link);
  if (aside) told.push(`${kept ? ". " : ""}${aside} ${aside === 1 ? "answer that was not taken is" : "answers that were not taken are"} kept in this browser`);
  place.replaceChildren(...told);
  place.hidden = told.length === 0;
  const all = document.querySelector("[data-all-kept]"); // on the last page of a reading
  if (all) all.hidden = kept > 0;
}

function linkTo(token, many) {
  const link = document.createElement("a");
  link.href = rooted(`/readings/${token}`);
  link.textContent = `open the reading here to send ${many === 1 ? "it" : "them"}`;
  return link;
}

/** Send what is kept; what the server will not have is set aside, and stays in this browser. */
function send(place, queue) {
  let full = "";
  const show = () => tell(place, queue, { why: full || (WHY[sending.trouble] ?? `not sent yet: ${sending.trouble}`) });
  const sending = new Sending({
    address: rooted(`/readings/${place.dataset.kept}`),
    queue,
    delegate: {
      isAside: false,
      stored: show,
      wasRefused(answer, reason) {
        if (!queue.setAside(answer, reason)) { // it stays where it is, and those after it too
          full = `not taken: ${reason} The browser has no room to set it aside.`;
          return;
        }
        sending.settle();
        sending.send();
      },
      allSent() {},
      learned() {},
      signedOut() {},
      changed: show,
    },
  });
  show();
  if (queue.length === 0) return;
  sending.start();
  sending.send();
}

for (const place of document.querySelectorAll("[data-kept]")) {
  const queue = new Queue(place.dataset.kept, browserStorage());
  if ("sends" in place.dataset) send(place, queue);
  else tell(place, queue, { link: linkTo(place.dataset.kept, queue.length) });
}
