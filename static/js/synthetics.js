// The contact sheet: portions of grey bytes drawn into canvases as they arrive.
// Changing a field draws again at once; a request that is no longer wanted is dropped.

const SIDE = 64;
const PORTION = 16;
const form = document.querySelector('[data-synthetics]');
const sheet = document.querySelector('[data-sheet]');
const progress = document.querySelector('[data-progress]');
const bar = progress?.querySelector('progress');
const status = document.querySelector('[data-status]');
const dialog = document.getElementById('synthetic');
let running = null;

function chosen() {
  const option = form.checkpoint.selectedOptions[0];
  return {
    checkpoint: form.checkpoint.value,
    lesionClass: option.textContent.split(' (')[0].trim(),
    count: Number(form.count.value),
    seed: Number(form.seed.value),
  };
}

function paint(canvas, grey) {
  canvas.width = SIDE;
  canvas.height = SIDE;
  const picture = new ImageData(SIDE, SIDE);
  for (let i = 0; i < grey.length; i += 1) {
    picture.data[4 * i] = picture.data[4 * i + 1] = picture.data[4 * i + 2] = grey[i];
    picture.data[4 * i + 3] = 255;
  }
  canvas.getContext('2d').putImageData(picture, 0, 0);
}

function cell(order, seed) {
  const item = document.createElement('li');
  item.className = 'sheet__item';
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'sheet__button';
  button.setAttribute('aria-label', `Enlarge synthetic ${order.lesionClass}, seed ${seed}`);
  const canvas = document.createElement('canvas');
  const label = document.createElement('span');
  label.className = 'sheet__label';
  label.textContent = seed;
  button.append(canvas);
  button.addEventListener('click', () => enlarge(order, seed));
  item.append(button, label);
  return { item, canvas };
}

function enlarge(order, seed) {
  const large = dialog.querySelector('[data-large]');
  large.src = `/synthetics/${order.checkpoint}/${seed}.png`;
  large.alt = `Synthetic ${order.lesionClass}, seed ${seed}`;
  dialog.querySelector('[data-caption]').textContent =
    `${order.lesionClass}, seed ${seed}, ${order.checkpoint}`;
  dialog.showModal();
}

function describe(order) {
  const query = `seed=${order.seed}&count=${order.count}`;
  for (const link of form.querySelectorAll('[data-download]')) {
    link.href = `/synthetics/${order.checkpoint}/download?${query}&format=${link.dataset.download}`;
  }
  const card = form.querySelector('[data-card]');
  card.href = `/checkpoints/${order.checkpoint}`;
  card.textContent = `Card of ${order.checkpoint}`;
  document.querySelector('[data-sheet-title]').textContent =
    `${order.count} synthetic ROIs of class ${order.lesionClass}, seeds ${order.seed} to ` +
    `${order.seed + order.count - 1}`;
}

async function draw({ remember }) {
  if (!form.checkValidity()) return;
  const order = chosen();
  if (remember) {
    const query = new URLSearchParams({ checkpoint: order.checkpoint, count: order.count, seed: order.seed });
    history.replaceState(null, '', `/synthetics?${query}`);
  }
  running?.abort();
  const mine = new AbortController();
  running = mine;
  describe(order);
  const cells = Array.from({ length: order.count }, (_, n) => cell(order, order.seed + n));
  sheet.replaceChildren(...cells.map(({ item }) => item));
  const started = performance.now();
  try {
    for (let start = 0; start < order.count; start += PORTION) {
      const count = Math.min(PORTION, order.count - start);
      const reply = await fetch(
        `/synthetics/${order.checkpoint}/sheet?seed=${order.seed + start}&count=${count}`,
        { signal: mine.signal, headers: { accept: 'application/json' } },
      );
      if (!reply.ok) throw new Error((await reply.json()).detail);
      const grey = new Uint8Array(await reply.arrayBuffer());
      for (let n = 0; n < count; n += 1) {
        paint(cells[start + n].canvas, grey.subarray(n * SIDE * SIDE, (n + 1) * SIDE * SIDE));
      }
      report(start + count, order.count, performance.now() - started);
    }
    status.textContent = `${order.count} images drawn.`;
    performance.measure('sheet', { start: started, end: performance.now() });
  } catch (error) {
    if (error.name !== 'AbortError') status.textContent = `Not drawn: ${error.message}`;
  } finally {
    if (running === mine) progress.hidden = true;
  }
}

function report(done, total, elapsed) {
  progress.hidden = elapsed < 300 || done >= total;
  bar.max = total;
  bar.value = done;
  progress.querySelector('[data-progress-text]').textContent = `${done} of ${total} drawn`;
  const left = Math.ceil(((elapsed / done) * (total - done)) / 1000);
  progress.querySelector('[data-progress-left]').textContent = `about ${left} s left`;
}

if (form && sheet) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (form.reportValidity()) draw({ remember: true });
  });
  form.addEventListener('input', () => draw({ remember: true }));
  form.querySelector('[data-next-seeds]').addEventListener('click', () => {
    form.seed.value = Number(form.seed.value) + Number(form.count.value);
    draw({ remember: true });
  });
  draw({ remember: false });
}
