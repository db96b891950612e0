// One user's live stream over EventSource. The browser's own reconnection doesn't tell when it comes and gives up
// for good on an answer that is no stream (a proxy's 502 during a deployment), so each failure closes the
// EventSource and a new one is opened after a delay that is announced.

import { Problem } from "./api.js";

const FIRST_DELAY = 2000;
const LONGEST_DELAY = 30_000;
const TICK = 250;
const STALL = 4000;

/** Milliseconds before attempt number `failures`: doubling, spread over half to whole so that clients don't come at once. */
export function delayAfter(failures, random = Math.random) {
  const whole = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** Math.max(0, failures - 1));
  return whole * (0.5 + random() / 2);
}

export class Stream {
  #source = null;
  #timer = null;
  #failures = 0;
  #deadline = 0;
  #since = null;
  #lastEventId = "";
  #probe = false;
  #resets = 0;
  #closed = false;

  /**
   * events({since, lastEventId}) gives the address; load() reads the list and returns its position; probe() throws a
   * Problem if the server refuses this user; onEvent(event, seq) gets each notification once, in order; onState({name:
   * "connecting" | "live" | "waiting" | "stopped", seconds, error}) each change.
   */
  constructor({ events, load, probe, onEvent, onState }) {
    Object.assign(this, { events, load, probe, onEvent, onState });
  }

  /** The highest seq known, as a BigInt. */
  get position() {
    return BigInt(this.#lastEventId || this.#since || 0);
  }

  start() {
    this.#connect();
  }

  close() {
    this.#closed = true;
    this.#drop();
  }

  /** Connects now instead of at the end of the countdown. */
  retryNow() {
    if (this.#timer !== null) this.#connect();
  }

  /** Says that the row `seq` exists. A stream that has not brought it soon is dead without knowing: open a new one. */
  expect(seq) {
    const source = this.#source;
    setTimeout(() => {
      if (!this.#closed && source && source === this.#source && this.position < seq) this.#connect();
    }, STALL);
  }

  #drop() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#source?.close();
    this.#source = null;
  }

  async #connect() {
    this.#drop();
    this.onState({ name: "connecting" });
    try {
      if (this.#since === null) this.#since = String(await this.load());
      else if (this.#probe) await this.probe();
    } catch (error) {
      if (this.#closed) return;
      if (!(error instanceof Problem)) throw error;
      this.#refused(error);
      return;
    }
    if (!this.#closed) this.#open();
  }

  #refused(error) {
    if (error.permanent) this.onState({ name: "stopped", error });
    else this.#wait(error);
  }

  #open() {
    this.#drop();
    const source = new EventSource(this.events({ since: this.#since, lastEventId: this.#lastEventId }));
    this.#source = source;
    source.onmessage = (event) => this.#take(event);
    source.addEventListener("hello", (event) => this.#isLive(event));
    source.addEventListener("reset", () => this.#reset());
    source.onerror = () => {
      this.#probe = source.readyState === EventSource.CLOSED;
      this.#wait();
    };
  }

  #take(event) {
    const known = this.position;
    const seq = BigInt(event.lastEventId || 0);
    if (seq <= known) return;
    this.#lastEventId = event.lastEventId;
    this.onEvent(JSON.parse(event.data), seq);
  }

  #isLive(event) {
    this.#lastEventId = event.lastEventId || this.#lastEventId;
    this.#failures = 0;
    this.#resets = 0;
    this.#probe = false;
    this.onState({ name: "live" });
  }

  /** The position was pruned or is none of the server's: the list is the truth, the stream goes on from there. */
  #reset() {
    this.#since = null;
    this.#lastEventId = "";
    this.#resets += 1;
    if (this.#resets > 1) this.#wait();
    else this.#connect();
  }

  #wait(error = null) {
    this.#drop();
    this.#failures += 1;
    this.#deadline = Date.now() + delayAfter(this.#failures);
    const tick = () => {
      const left = this.#deadline - Date.now();
      if (left <= 0) this.#connect();
      else this.onState({ name: "waiting", seconds: Math.ceil(left / 1000), error });
    };
    this.#timer = setInterval(tick, TICK);
    tick();
  }
}
