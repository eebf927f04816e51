// My readings: which of them have answers in this browser that the server has not got.

import { browserStorage, Queue } from './desk/queue.js';

for (const place of document.querySelectorAll("[data-kept]")) {
  const queue = new Queue(place.dataset.kept, browserStorage());
  const [kept, aside] = [queue.length, queue.aside().length];
  const told = [
    kept && `${kept} ${kept === 1 ? "answer is" : "answers are"} kept in this browser and not sent yet; open the reading here to send ${kept === 1 ? "it" : "them"}`,
    aside && `${aside} ${aside === 1 ? "answer that was not taken is" : "answers that were not taken are"} kept in this browser`,
  ].filter(Boolean);
  place.textContent = told.join(". ");
  place.hidden = told.length === 0;
  const all = document.querySelector("[data-all-kept]"); // on the last page of a reading
  if (all) all.hidden = told.length > 0;
}
