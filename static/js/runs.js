// A run's page: the progress asks for itself; when the run is over the whole page is loaded anew.

import { watch } from './fragment.js';

watch();
const state = () => document.getElementById('run-progress')?.dataset.state;
const first = state();
new MutationObserver(() => {
  if (state() !== first && ['done', 'failed', 'cancelled'].includes(state())) location.reload();
}).observe(document.getElementById('main'), { childList: true, subtree: true });
