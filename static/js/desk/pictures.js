// The pictures of the trials, fetched and decoded ahead: one, or both of a pair and never one alone.

import { rooted } from "../root.js";
import { SILENCE_MS } from "./sending.js";

const SINGLE = [""];

export class Pictures {
  #coming = new Map(); // token → Promise<HTMLImageElement[]>, as they stand from the left

  /** sizePx: side in CSS pixels; className: as on the stage; sides: of a pair, none for single pictures. */
  constructor({ sizePx, className, sides = [] }) {
    this.sizePx = sizePx;
    this.className = className;
    this.sides = sides.length ? sides : SINGLE;
  }

  stop() { for (const token of [...this.#coming.keys()]) this.forget(token); }

  /** The decoded pictures; rejects where one cannot be had, and they are asked for anew the next time. */
  get(token) {
    if (!this.#coming.has(token)) {
      const loading = this.#fetchAll(token);
      loading.catch(() => this.#coming.delete(token));
      this.#coming.set(token, loading);
    }
    return this.#coming.get(token);
  }

  fetchAhead(tokens) { for (const token of tokens) this.get(token).catch(() => {}); }

  forget(token) {
    const old = this.#coming.get(token);
    this.#coming.delete(token);
    old?.then((images) => images.forEach(release), () => {});
  }

  async #fetchAll(token) {
    const tried = await Promise.allSettled(this.sides.map((side) => this.#fetch(token, side)));
    const failed = tried.find((one) => one.status === "rejected");
    const images = tried.flatMap((one) => one.value ?? []);
    if (!failed) return images;
    images.forEach(release);
    throw failed.reason;
  }

  async #fetch(token, side) {
    const answer = await fetch(rooted(`/pixels/${token}${side && `/${side}`}`), {
      credentials: "same-origin", signal: AbortSignal.timeout(SILENCE_MS),
    });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const image = new Image(this.sizePx, this.sizePx);
    image.className = this.className;
    image.alt = side ? `Lesion image on the ${side}` : "Lesion image";
    image.dataset.image = side;
    image.dataset.decoded = "";
    image.src = URL.createObjectURL(await answer.blob());
    await image.decode();
    return image;
  }
}

function release(image) { URL.revokeObjectURL(image.src); }
