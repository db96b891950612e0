// The inbox of one user: its list, its stream and its unread count, joined by seq.

import { Stream } from "./stream.js";

const BURST = 50;
const SETTLE = 1000;
const HIDDEN_BATCH = 250;

export class Session {
  #abort = new AbortController();
  #pending = [];
  #scheduled = false;
  #settling = null;
  #hasBeenLive = false;
  #unread = 0;

  /** page: {loaded(), unread(n), arrived(rows), state(state)} is told what changed. */
  constructor({ api, feed, page }) {
    Object.assign(this, { api, feed, page });
    this.stream = new Stream({
      events: (position) => api.events(position),
      load: () => this.#load(),
      probe: () => api.list({ limit: 1, signal: this.#abort.signal }),
      onEvent: (event, seq) => this.#take(event, seq),
      onState: (state) => this.#state(state),
    });
  }

  start() {
    this.stream.start();
  }

  close() {
    this.#abort.abort();
    clearTimeout(this.#settling);
    this.stream.close();
  }

  async loadOlder() {
    const { items, next } = await this.api.list({ before: this.feed.older, signal: this.#abort.signal });
    return this.feed.append(items, next);
  }

  /** Shown at once; taken back if the server refuses. */
  async markOne(id) {
    this.#setUnread(this.#unread - this.feed.markViewed({ id }).length);
    try {
      await this.api.markOne(id);
    } catch (error) {
      this.#setUnread(this.#unread + this.feed.markViewed({ id, viewed: false }).length);
      throw error;
    }
  }

  async markAll() {
    const upTo = this.stream.position;
    const { unread } = await this.api.markUpTo(upTo);
    this.feed.markViewed({ upTo });
    this.#setUnread(unread);
    await this.refresh();
  }

  /** Takes over what changed elsewhere: which rows are viewed, how many are unread, whether the stream is still alive. */
  async refresh() {
    const { items, unread, seq } = await this.api.list({ signal: this.#abort.signal });
    this.flush();
    const coming = items.filter((row) => !this.feed.has(row.id) && BigInt(row.seq) > this.stream.position);
    for (const row of items) this.feed.markViewed({ id: row.id, viewed: row.is_viewed });
    this.#setUnread(unread - coming.filter((row) => !row.is_viewed).length + this.feed.unreadAbove(BigInt(seq)));
    if (coming.length > 0) this.stream.expect(BigInt(coming[0].seq));
  }

  /** Shows the live rows that wait for the next frame. */
  flush() {
    this.#scheduled = false;
    if (this.#abort.signal.aborted || this.#pending.length === 0) return;
    const rows = this.#pending;
    this.#pending = [];
    const fresh = rows.filter((row) => !this.feed.has(row.id));
    this.feed.prepend(fresh);
    this.#setUnread(this.#unread + fresh.length);
    if (fresh.length > 0) this.page.arrived(fresh);
    if (fresh.length > BURST) this.#settle();
  }

  async #load() {
    const { items, unread, seq, next } = await this.api.list({ signal: this.#abort.signal });
    this.#pending = [];
    this.feed.replace(items, next);
    this.#setUnread(unread);
    this.page.loaded();
    return seq;
  }

  #take(event, seq) {
    const { timestamp, ...row } = event;
    this.#pending.push({ ...row, created_at: timestamp, is_viewed: false, seq });
    if (this.#scheduled) return;
    this.#scheduled = true;
    // A hidden page gets no animation frames, its title still has to count.
    if (document.hidden) setTimeout(() => this.flush(), HIDDEN_BATCH);
    else requestAnimationFrame(() => this.flush());
  }

  #state(state) {
    this.page.state(state);
    if (state.name !== "live") return;
    // What came by replay may have been viewed elsewhere in the meantime.
    if (this.#hasBeenLive) this.#settle();
    this.#hasBeenLive = true;
  }

  /** Counts again once things are quiet: a burst may bring rows that the first count had seen already. */
  #settle() {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.refresh().catch(() => {}), SETTLE);
  }

  #setUnread(count) {
    this.#unread = Math.max(0, count);
    if (!this.#abort.signal.aborted) this.page.unread(this.#unread);
  }
}
