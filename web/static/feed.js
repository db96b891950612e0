// The list of notifications on the page. Everything that comes from a row is set as text, never as markup.

import { beginning, exactTime, excerpt, relativeTime } from "./format.js";

const NEWEST = 500;
const ANIMATED = 20;
const LONG_MESSAGE = 600;
const DEFAULT_CHANNEL = "notifications_channel";

const template = document.getElementById("item-template");

export class Feed {
  #list;
  #items = new Map();
  #capacity = NEWEST;
  #older = null;

  /** onView(id, li) is called when the reader marks one as viewed. */
  constructor(list, { onView }) {
    this.#list = list;
    list.addEventListener("click", (event) => this.#clicked(event, onView));
  }

  get size() {
    return this.#items.size;
  }

  /** The `before` of the next page of older rows, null if there is none. */
  get older() {
    return this.#older;
  }

  has(id) {
    return this.#items.has(String(id));
  }

  clear() {
    this.#list.replaceChildren();
    this.#items.clear();
    this.#capacity = NEWEST;
    this.#older = null;
  }

  replace(rows, older) {
    this.clear();
    this.append(rows, older);
  }

  /** Adds a page of older rows at the end, newest first; from then on that many may stay. Returns the first new item. */
  append(rows, older) {
    const items = rows.filter((row) => !this.has(row.id)).map((row) => this.#add(row));
    this.#list.append(...items);
    this.#older = older;
    this.#capacity = Math.max(NEWEST, this.size);
    return items[0];
  }

  /** Adds live rows, oldest first, on top. What falls off the end comes back with "Load older". Returns how many were new. */
  prepend(rows) {
    const fresh = rows.filter((row) => !this.has(row.id));
    const shown = fresh.slice(-this.#capacity);
    this.#remember(fresh.slice(0, fresh.length - shown.length).map((row) => row.id));
    const items = shown.map((row) => this.#add(row)).reverse();
    if (items.length <= ANIMATED) for (const item of items) item.classList.add("arrived");
    this.#list.prepend(...items);
    this.#trim();
    return fresh.length;
  }

  /** Marks as viewed one row or, without id, every row up to seq; returns the ids that were not viewed before. */
  markViewed({ id = null, upTo = null, viewed = true }) {
    const changed = [];
    for (const [key, { row, item }] of this.#items) {
      const meant = id === null ? BigInt(row.seq) <= upTo : key === String(id);
      if (!meant || row.is_viewed === viewed) continue;
      row.is_viewed = viewed;
      this.#paintViewed(item, row);
      changed.push(key);
    }
    return changed;
  }

  unreadAbove(seq) {
    return [...this.#items.values()].filter(({ row }) => !row.is_viewed && BigInt(row.seq) > seq).length;
  }

  updateTimes(now) {
    for (const { item, when } of this.#items.values()) {
      if (Number.isNaN(when)) continue;
      const text = relativeTime(when, now);
      const time = item.querySelector("time");
      if (time.textContent !== text) time.textContent = text;
    }
  }

  #trim() {
    const gone = [];
    while (this.#list.childElementCount > this.#capacity) {
      const last = this.#list.lastElementChild;
      if (last.contains(document.activeElement)) break;
      gone.push(last.dataset.id);
      this.#items.delete(last.dataset.id);
      last.remove();
    }
    this.#remember(gone);
  }

  /** Lets "Load older" begin above every row that is no longer shown: pages are by id, arrivals are not. */
  #remember(ids) {
    for (const id of ids) {
      const before = BigInt(id) + 1n;
      if (this.#older === null || BigInt(this.#older) < before) this.#older = before.toString();
    }
  }

  #add(row) {
    const item = template.content.firstElementChild.cloneNode(true);
    const when = Date.parse(row.created_at);
    item.dataset.id = String(row.id);
    this.#items.set(item.dataset.id, { row, item, when });
    this.#paintMessage(item, row);
    this.#paintMeta(item, row, when);
    this.#paintData(item, row);
    this.#paintViewed(item, row);
    return item;
  }

  #paintMessage(item, row) {
    const message = item.querySelector(".message");
    const isLong = row.message.length > LONG_MESSAGE;
    message.textContent = isLong ? `${beginning(row.message, LONG_MESSAGE)}…` : row.message || "(empty message)";
    message.classList.toggle("blank", !row.message);
    item.querySelector(".more").hidden = !isLong;
    item.querySelector(".view .visually-hidden").textContent = `Mark as viewed: ${excerpt(row.message, 60) || "empty message"}`;
  }

  #paintMeta(item, row, when) {
    const time = item.querySelector("time");
    // Postgres has times that JavaScript has not: infinity, the year 10000.
    const isKnown = !Number.isNaN(when);
    time.dateTime = isKnown ? row.created_at : "";
    time.textContent = isKnown ? relativeTime(when, Date.now()) : row.created_at;
    time.title = isKnown ? exactTime(when) : "";
    item.querySelector(".everyone").hidden = row.user_id !== null;
    this.#tag(item.querySelector(".channel"), row.channel_type === DEFAULT_CHANNEL ? null : row.channel_type);
    this.#tag(item.querySelector(".key"), row.key);
  }

  #tag(tag, text) {
    tag.hidden = text === null || text === undefined;
    tag.querySelector("bdi").textContent = tag.hidden ? "" : excerpt(text, 60);
  }

  #paintData(item, row) {
    const details = item.querySelector("details");
    details.hidden = row.data === null || row.data === undefined;
    if (details.hidden) return;
    details.addEventListener("toggle", () => {
      details.querySelector("pre").textContent = JSON.stringify(row.data, null, 2);
    }, { once: true });
  }

  #paintViewed(item, row) {
    item.classList.toggle("unread", !row.is_viewed);
    item.querySelector(".state").textContent = row.is_viewed ? "Viewed," : "Unread,";
    item.querySelector(".view").hidden = row.is_viewed;
  }

  #clicked(event, onView) {
    const item = event.target.closest(".item");
    if (event.target.closest(".view")) {
      onView(item.dataset.id, item);
    } else if (event.target.closest(".more")) {
      item.querySelector(".message").textContent = this.#items.get(item.dataset.id).row.message;
      event.target.closest(".more").hidden = true;
      item.focus();
    }
  }
}
