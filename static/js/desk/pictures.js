// The pictures of the trials, fetched and decoded ahead.

export class Pictures {
  #coming = new Map(); // token → Promise<HTMLImageElement>

  /** sizePx: side in CSS pixels; className: as on the stage. */
  constructor({ sizePx, className }) {
    this.sizePx = sizePx;
    this.className = className;
  }

  stop() { for (const token of [...this.#coming.keys()]) this.forget(token); }

  /** The decoded picture; rejects where it cannot be had, and is asked for anew the next time. */
  get(token) {
    if (!this.#coming.has(token)) {
      const loading = this.#fetch(token);
      loading.catch(() => this.#coming.delete(token));
      this.#coming.set(token, loading);
    }
    return this.#coming.get(token);
  }

  fetchAhead(tokens) { for (const token of tokens) this.get(token).catch(() => {}); }

  forget(token) {
    const old = this.#coming.get(token);
    this.#coming.delete(token);
    old?.then((image) => URL.revokeObjectURL(image.src), () => {});
  }

  async #fetch(token) {
    const answer = await fetch(`/pixels/${token}`, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const image = new Image(this.sizePx, this.sizePx);
    image.className = this.className;
    image.alt = "Lesion image";
    image.dataset.image = "";
    image.src = URL.createObjectURL(await answer.blob());
    await image.decode();
    return image;
  }
}
