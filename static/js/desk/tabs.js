// One tab at a time: the one that was opened later asks, and stands aside where another is reading.

export class Tabs {
  #channel = null;

  /** name: of the reading; session: sessionStorage or null. The delegate: state is aside (isAside), standAside(). */
  constructor({ name, session, delegate }) {
    this.name = name;
    this.session = session;
    this.delegate = delegate;
  }

  start() {
    if (this.#channel || !("BroadcastChannel" in globalThis)) return;
    this.#channel = new BroadcastChannel(this.name);
    this.#channel.onmessage = ({ data }) => this.#heard(data);
    this.#channel.postMessage(this.#takeClaim() ? "mine" : "here?");
  }

  stop() {
    this.#channel?.close();
    this.#channel = null;
  }

  /** After the next load this tab reads, and the others stand aside. */
  claim() {
    try { this.session?.setItem(`${this.name}:mine`, "1"); } catch { /* it asks again instead */ }
  }

  #takeClaim() {
    try {
      const mine = this.session?.getItem(`${this.name}:mine`);
      this.session?.removeItem(`${this.name}:mine`);
      return Boolean(mine);
    } catch { return false; }
  }

  #heard(word) {
    if (word === "here?" && !this.delegate.isAside) this.#channel.postMessage("here");
    else if (word === "here" || word === "mine") this.delegate.standAside();
  }
}
