// The inbox page: the controls around one session.
//
// user_ids (how an id is written) → api (HTTP) → stream (EventSource) → session (list, stream and count joined)
// → feed (the list on the page). Around them: login (who is there, if the server asks), format (times and texts), speech
// (screen readers), connection, sql_card, send_card, remembered.

import { Api, Problem, serverFacts } from "./api.js";
import { showConnection } from "./connection.js";
import { Feed } from "./feed.js";
import { Login } from "./login.js";
import { remember, remembered } from "./remembered.js";
import { listenToSendCard } from "./send_card.js";
import { Session } from "./session.js";
import { announce, say } from "./speech.js";
import { copySql, showSql } from "./sql_card.js";
import { delayAfter } from "./stream.js";
import { UserIds } from "./user_ids.js";

const TIMES_EVERY = 15_000;
const SCROLLED = 240;

const $ = (id) => document.getElementById(id);
const feed = new Feed($("list"), { onView: viewed });

let userIds = new UserIds("bigint");
// Null where the server asks nobody who they are: then any user may be chosen.
let login = null;
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

function showState(state) {
  const { name, error } = state;
  const isOther = showConnection(state);
  // An EventSource doesn't tell why it was refused; a token that has expired or was revoked is no reason to wait.
  if (isOther && name === "waiting") login?.look().catch(() => {});
  if (name === "live") showProblem(null);
  else if (login && error?.signedOut) login.leave(error);
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
    if (login && error.signedOut) login.leave(error);
    else if (error instanceof Problem) showProblem(error, place);
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

async function send(message, options) {
  if (session) return attempt(() => session.api.send(message, options), $("send-error"));
  $("user").focus();
  return null;
}

// --- the user -----------------------------------------------------------------------------------------------------

function complain(text) {
  $("user-error").hidden = text === null;
  $("user-error").textContent = text ?? "";
  $("user").setAttribute("aria-invalid", String(text !== null));
}

function close() {
  session?.close();
  session = null;
  feed.clear();
  unseen = 0;
  showUnseen();
  showUnread(0);
  $("empty").hidden = $("list").hidden = $("older").hidden = true;
  showProblem(null);
}

/** Shows the inbox of a user; an id of the wrong form is said and changes nothing. Returns whether it was taken. */
function open(text) {
  $("user").value = text;
  const isTaken = userIds.accepts(text);
  complain(isTaken ? null : userIds.hint);
  if (!isTaken) return false;
  const user = userIds.canonical(text);
  close();
  $("user").value = $("empty-user").textContent = user;
  showSql(userIds.sql(user));
  session = new Session({ api: new Api(userIds, user), feed, page });
  session.start();
  return true;
}

function addressed() {
  const last = remembered();
  const fallback = last !== null && userIds.accepts(last) ? last : userIds.first;
  return new URLSearchParams(location.search).get("user") ?? fallback;
}

function openFromAddress() {
  if (!open(addressed())) {
    showState({ name: "stopped" });
    return;
  }
  remember(session.api.user);
  history.replaceState(null, "", addressOf(session.api.user));
}

/** The skip link's #inbox comes here too, with the same user. */
function movedInHistory() {
  if (!login && addressed() !== session?.api.user) openFromAddress();
}

function addressOf(user) {
  const url = new URL(location.href);
  url.searchParams.set("user", user);
  return url;
}

function choose(event) {
  event.preventDefault();
  if (login || !open($("user").value.trim())) return;
  remember(session.api.user);
  history.pushState(null, "", addressOf(session.api.user));
}

// --- who is signed in, where the server asks ------------------------------------------------------------------------

/** The page of the one user that the token names, with the controls that its scopes are for. */
function entered({ user_id: user, scope }) {
  const scopes = scope.split(" ");
  $("mark-all").hidden = !scopes.includes("view");
  $("list").classList.toggle("fixed", !scopes.includes("view"));
  $("send-card").hidden = !scopes.includes("send");
  open(user);
}

function left() {
  close();
  document.title = "Log in · Rowcast";
}

/** The token, not the reader or the address, says who the user is. */
function askWhoIsThere() {
  login = new Login({ entered, left });
  $("user").readOnly = true;
  $("choose").hidden = true;
  $("sign-out").hidden = false;
  $("sign-out").addEventListener("click", () => attempt(() => login.signOut()));
}

// --- start --------------------------------------------------------------------------------------------------------

/** What `ask` gives, however long the server is away; throws a Problem that trying again won't change. */
async function patiently(ask) {
  for (let failures = 1; ; failures += 1) {
    try {
      return await ask();
    } catch (error) {
      if (error.permanent) throw error;
      showState({ name: "connecting", error });
      await new Promise((resolve) => setTimeout(resolve, delayAfter(failures)));
    }
  }
}

async function begin() {
  if (login) await attempt(() => patiently(() => login.look()));
  else openFromAddress();
}

function listen() {
  $("user-form").addEventListener("submit", choose);
  listenToSendCard(send);
  $("mark-all").addEventListener("click", markAll);
  $("older").addEventListener("click", loadOlder);
  $("copy").addEventListener("click", copySql);
  $("fresh").addEventListener("click", toTop);
  $("reconnect").addEventListener("click", () => session?.stream.retryNow());
  window.addEventListener("online", () => session?.stream.retryNow());
  window.addEventListener("popstate", movedInHistory);
  window.addEventListener("pagehide", hide);
  window.addEventListener("pageshow", (event) => { if (event.persisted) begin(); });
  window.addEventListener("scroll", showUnseen, { passive: true });
  document.addEventListener("visibilitychange", visibilityChanged);
  setInterval(() => feed.updateTimes(Date.now()), TIMES_EVERY);
}

/** The browser may show the page again as it was, long after; by then somebody else may be signed in. */
function hide() {
  session?.close();
  login?.forget();
}

/** On hiding too: the frame that was to show the waiting rows may never come. */
function visibilityChanged() {
  session?.flush();
  if (document.hidden) return;
  feed.updateTimes(Date.now());
  session?.refresh().catch(() => {});
}

const facts = await patiently(serverFacts);
userIds = new UserIds(facts.userIdType);
$("user").classList.toggle("wide", userIds.type === "uuid");
if (facts.auth === "jwt") askWhoIsThere();
listen();
await begin();
