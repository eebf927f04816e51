// Brightness, contrast and zoom of the picture, as far as the protocol lets, and how often each was changed.

const PLAIN = Object.freeze({ brightness: 0, contrast: 1, window_changes: 0, zoom: 1, zoom_changes: 0 });
const rounded = (value) => Math.round(value * 1000) / 1000;
const within = (value, low, high) => Math.min(high, Math.max(low, rounded(value)));

/** What a key may ask for. */
export const Change = Object.freeze({
  brighter: "brighter", darker: "darker", harder: "harder", softer: "softer",
  larger: "larger", smaller: "smaller", plain: "plain",
});

export class Display {
  #values = { ...PLAIN };

  /** {brightness, contrast, window_changes, zoom, zoom_changes}, as they are stored with an answer. */
  get values() { return { ...this.#values }; }

  reset() { this.#values = { ...PLAIN }; }

  takeUp(values) { this.#values = { ...PLAIN, ...values }; }

  change(what) {
    const now = this.#values;
    const { brightness, contrast, zoom } = now;
    switch (what) {
      case Change.brighter: this.#window({ brightness: within(brightness + 0.04, -0.8, 0.8) }); break;
      case Change.darker: this.#window({ brightness: within(brightness - 0.04, -0.8, 0.8) }); break;
      case Change.harder: this.#window({ contrast: within(contrast * 1.1, 0.25, 8) }); break;
      case Change.softer: this.#window({ contrast: within(contrast * 1.1 ** -1, 0.25, 8) }); break;
      case Change.larger: this.#zoom(within(zoom * 1.25, 1, 4)); break;
      case Change.smaller: this.#zoom(within(zoom * 0.8, 1, 4)); break;
      case Change.plain:
        this.#values = { ...PLAIN, window_changes: now.window_changes + 1, zoom_changes: now.zoom_changes + 1 };
        break;
      default: throw new Error(`No change of the picture: ${what}`);
    }
  }

  #window(values) {
    this.#values = { ...this.#values, ...values, window_changes: this.#values.window_changes + 1 };
  }

  #zoom(zoom) {
    this.#values = { ...this.#values, zoom, zoom_changes: this.#values.zoom_changes + 1 };
  }
}
