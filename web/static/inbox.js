// The inbox page: the controls around one session.
//
// user_ids (how an id is written) → api (HTTP) → stream (EventSource) → session (list, stream and count joined)
// → feed (the list on the page). Around them: format (times and texts), speech (screen readers), sql_card.

import { Api, Problem, userIdType } from "./api.js";
import { Feed } from "./feed.js";
import { Session } from "./session.js";
import { announce, say } from "./speech.js";
import { copySql, showSql } from "./sql_card.js";
import { delayAfter } from "./stream.js";
import { UserIds } from "./user_ids.js";

const REMEMBERED = "rowcast.user";
const TIMES_EVERY = 15_000;
const SCROLLED = 240;

const $ = (id) => document.getElementById(id);
const feed = new Feed($("list"), { onView: viewed });

let userIds = new UserIds("bigint");
let session = null;
let unseen = 0;

// --- what the session tells ---------------------------------------------------------------------------------------

const page = { loaded: showList, unread: showUnread, arrived, state: showState };

function showList() {
  $("list").hidden = feed.size === 0;
  $("empty").hidden = feed.size > 0;
  $("older").hidden = feed.older === null;
}

function showUnread(count) {
  const text = count.toLocaleString("en");
  $("unread").textContent = text;
  $("badge").hidden = count === 0;
  $("mark-all").disabled = count === 0;
  document.title = `${count > 0 ? `(${text}) ` : ""}Inbox · Rowcast`;
}

function arrived(rows) {
  showList();
  if (window.scrollY > SCROLLED) unseen += rows.length;
  showUnseen();
  announce(rows.map((row) => row.message));
}

function showState({ name, seconds, error }) {
  const texts = { live: "live", connecting: "connecting", stopped: "not connected", waiting: `reconnecting in ${seconds} s` };
  const connection = $("connection");
  if (connection.dataset.state !== name) {
    const spoken = { live: "Connection: live", waiting: "Connection lost, reconnecting", stopped: "Not connected" }[name];
    if (spoken && (name !== "live" || connection.dataset.lost)) say(spoken);
    if (name === "waiting") connection.dataset.lost = "yes";
    if (name === "live") delete connection.dataset.lost;
    connection.dataset.state = name;
  }
  $("connection-text").textContent = texts[name];
  $("reconnect").hidden = name !== "waiting";
  if (name === "live") showProblem(null);
  else if (error?.status > 0) showProblem(error);
}

// --- problems -----------------------------------------------------------------------------------------------------

function showProblem(error, place = $("problem")) {
  place.hidden = error === null;
  place.textContent = error?.message ?? "";
}

/** Runs what the reader asked for; a refusal is shown, and goes away with the next success. */
async function attempt(action, place = $("problem")) {
  try {
    await action();
    showProblem(null, place);
    return true;
  } catch (error) {
    if (error instanceof Problem) showProblem(error, place);
    else if (error.name !== "AbortError") throw error;
    return false;
  }
}

// --- the list -----------------------------------------------------------------------------------------------------

function viewed(id, item) {
  const others = [...$("list").querySelectorAll(".view:not([hidden])")];
  const place = others.indexOf(item.querySelector(".view"));
  attempt(() => session.markOne(id));
  (others[place + 1] ?? others[place - 1] ?? item).focus();
}

async function markAll() {
  if (await attempt(() => session.markAll())) say("All marked as viewed");
  $("inbox").focus({ preventScroll: true });
}

async function loadOlder() {
  const button = $("older");
  button.disabled = true;
  await attempt(async () => {
    const first = await session.loadOlder();
    showList();
    first?.focus({ preventScroll: true });
  });
  button.disabled = false;
}

function showUnseen() {
  if (window.scrollY <= SCROLLED) unseen = 0;
  $("fresh").hidden = unseen === 0;
  $("fresh").textContent = `↑ ${unseen.toLocaleString("en")} new`;
}

function toTop() {
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  window.scrollTo({ top: 0, behavior: isCalm ? "instant" : "smooth" });
  $("inbox").focus({ preventScroll: true });
}

// --- sending ------------------------------------------------------------------------------------------------------

async function send(event) {
  event.preventDefault();
  if (!session) return $("user").focus();
  const [message, button] = [$("message"), $("send")];
  button.disabled = true;
  const isSent = await attempt(
    () => session.api.send(message.value, { toEveryone: $("everyone").checked }), $("send-error"),
  );
  button.disabled = false;
  if (isSent) message.value = "";
  message.focus();
}

function sendOnEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("send-form").requestSubmit();
}

// --- the user -----------------------------------------------------------------------------------------------------

function remember(user) {
  try {
    localStorage.setItem(REMEMBERED, user);
  } catch {
    // Storage may be forbidden; the address still has the user.
  }
}

function remembered() {
  try {
    const user = localStorage.getItem(REMEMBERED);
    return user !== null && userIds.accepts(user) ? user : null;
  } catch {
    return null;
  }
}

function complain(text) {
  $("user-error").hidden = text === null;
  $("user-error").textContent = text ?? "";
  $("user").setAttribute("aria-invalid", String(text !== null));
}

/** Shows the inbox of a user; an id of the wrong form is said and changes nothing. Returns whether it was taken. */
function open(text) {
  $("user").value = text;
  const isTaken = userIds.accepts(text);
  complain(isTaken ? null : userIds.hint);
  if (!isTaken) return false;
  const user = userIds.canonical(text);
  session?.close();
  feed.clear();
  showUnread(0);
  $("empty").hidden = $("list").hidden = $("older").hidden = true;
  showProblem(null);
  $("user").value = $("empty-user").textContent = user;
  showSql(userIds.sql(user));
  remember(user);
  session = new Session({ api: new Api(userIds, user), feed, page });
  session.start();
  return true;
}

function addressed() {
  return new URLSearchParams(location.search).get("user") ?? remembered() ?? userIds.first;
}

function openFromAddress() {
  if (open(addressed())) history.replaceState(null, "", addressOf(session.api.user));
  else showState({ name: "stopped" });
}

/** The skip link's #inbox comes here too, with the same user. */
function movedInHistory() {
  if (addressed() !== session?.api.user) openFromAddress();
}

function addressOf(user) {
  const url = new URL(location.href);
  url.searchParams.set("user", user);
  return url;
}

function choose(event) {
  event.preventDefault();
  const user = $("user").value.trim();
  if (open(user)) history.pushState(null, "", addressOf(session.api.user));
}

// --- start --------------------------------------------------------------------------------------------------------

async function learnUserIds() {
  for (let failures = 1; ; failures += 1) {
    try {
      return new UserIds(await userIdType());
    } catch (error) {
      showState({ name: "connecting", error });
      await new Promise((resolve) => setTimeout(resolve, delayAfter(failures)));
    }
  }
}

function listen() {
  $("user-form").addEventListener("submit", choose);
  $("send-form").addEventListener("submit", send);
  $("message").addEventListener("keydown", sendOnEnter);
  $("mark-all").addEventListener("click", markAll);
  $("older").addEventListener("click", loadOlder);
  $("copy").addEventListener("click", copySql);
  $("fresh").addEventListener("click", toTop);
  $("reconnect").addEventListener("click", () => session?.stream.retryNow());
  window.addEventListener("online", () => session?.stream.retryNow());
  window.addEventListener("popstate", movedInHistory);
  window.addEventListener("pagehide", () => session?.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) openFromAddress(); });
  window.addEventListener("scroll", showUnseen, { passive: true });
  document.addEventListener("visibilitychange", visibilityChanged);
  setInterval(() => feed.updateTimes(Date.now()), TIMES_EVERY);
}

/** On hiding too: the frame that was to show the waiting rows may never come. */
function visibilityChanged() {
  session?.flush();
  if (document.hidden) return;
  feed.updateTimes(Date.now());
  session?.refresh().catch(() => {});
}

userIds = await learnUserIds();
$("user").classList.toggle("wide", userIds.type === "uuid");
openFromAddress();
listen();
