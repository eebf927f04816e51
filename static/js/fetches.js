// Images on their way from a PACS: the progress asks for itself; once they are here, the page that
// is loaded anew is the case.

import { watch } from './fragment.js';

watch();
new MutationObserver((_changes, observer) => {
  if (document.getElementById('fetch-progress')?.dataset.state !== 'done') return;
  observer.disconnect();
  location.reload();
}).observe(document.getElementById('main'), { childList: true, subtree: true });
