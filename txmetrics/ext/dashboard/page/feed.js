// The overview as the server tells it, a point a second: by server-sent events, and by asking where these fail.

const POLL = 2000;
const ASK_AGAIN = 30000; // after which the events are tried again
const SILENCE = 6000; // after which a connection that says nothing counts as lost
const FAILURES = 2;

/**
 * Calls `onState(state)` with each overview, and `onStatus(name)` with one of connecting, live, polling, paused, lost.
 * Nothing is asked for while the page is hidden or paused.
 */
export class Feed {
  #onState;
  #onStatus;
  #events = null;
  #poll = null;
  #retry = null;
  #failures = 0;
  #heard = 0;
  #lost = false;
  #paused = false;
  #running = 0; // counts the starts: an answer of an earlier one is too late

  constructor(onState, onStatus) {
    this.#onState = onState;
    this.#onStatus = onStatus;
    document.addEventListener("visibilitychange", () => this.#turn());
    setInterval(() => this.#listen(), 1000);
  }

  start() {
    this.#turn();
  }

  get paused() {
    return this.#paused;
  }

  /** Whether there is anybody to fetch anything for. */
  get wanted() {
    return !this.#paused && !document.hidden;
  }

  pause(paused) {
    this.#paused = paused;
    this.#turn();
  }

  #turn() {
    this.#close();
    if (this.#paused) this.#onStatus("paused");
    if (!this.wanted) return;
    this.#onStatus("connecting");
    this.#failures = 0;
    this.#ask();
    this.#open();
  }

  #close() {
    this.#running += 1;
    this.#events?.close();
    this.#events = null;
    clearTimeout(this.#poll);
    clearTimeout(this.#retry);
    this.#poll = this.#retry = null;
  }

  #open() {
    const events = (this.#events = new EventSource("events"));
    this.#heard = performance.now();
    events.onmessage = (event) => {
      if (events !== this.#events) return;
      this.#failures = 0;
      this.#heard = performance.now();
      clearTimeout(this.#poll);
      this.#poll = null;
      this.#onStatus("live");
      this.#onState(JSON.parse(event.data));
    };
    events.onerror = () => {
      if (events === this.#events) this.#failed();
    };
  }

  /** The events ended or cannot begin: ask once more for them, then only for single answers, for a while. */
  #failed() {
    this.#events.close();
    this.#events = null;
    this.#failures += 1;
    clearTimeout(this.#retry);
    const again = this.#failures < FAILURES ? POLL / 2 : ASK_AGAIN;
    this.#retry = setTimeout(() => this.#open(), again);
    if (this.#failures >= FAILURES && this.#poll === null) this.#again(0);
  }

  #again(wait) {
    this.#poll = setTimeout(async () => {
      const running = this.#running;
      await this.#ask(true);
      if (running === this.#running && this.#poll !== null) this.#again(POLL);
    }, wait);
  }

  async #ask(polling = false) {
    const running = this.#running;
    let state = null;
    try {
      const answer = await fetch("state", { cache: "no-store", signal: AbortSignal.timeout(SILENCE) });
      if (answer.ok) state = await answer.json();
    } catch {
      // said below, as for any other answer that is none
    }
    if (running !== this.#running) return;
    if (polling) this.#polled(state !== null);
    if (state !== null) this.#onState(state);
  }

  /** One answer has come, or not; a server that is back is asked for its events at once. */
  #polled(answered) {
    this.#onStatus(answered ? "polling" : "lost");
    const back = answered && this.#lost;
    this.#lost = !answered;
    if (!back || this.#events) return;
    clearTimeout(this.#retry);
    this.#open();
  }

  #listen() {
    if (this.#events && this.wanted && performance.now() - this.#heard > SILENCE) this.#failed();
  }
}
