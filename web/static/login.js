// Who is signed in, where the server asks: the form that takes a token, and the way out.
//
// The token goes to the server once, in a header, and comes back as a cookie that no script can read. It is kept nowhere
// here and stands in no address: not in a query, which servers log, and not in a fragment, which the browser's history
// keeps and by which a stranger's link could sign the reader in as the stranger.

import { Problem, signIn, signOut, whoIsThere } from "./api.js";

const ONCE_MORE = "Log in with a new one.";
const NOT_KEPT =
  "The token is good, but your browser did not keep the cookie: it takes one over https, and over plain http at most from localhost.";
const NO_TOKEN = "This is no token. One is three parts of letters and digits with dots between, as “rowcast token” prints it.";
const NO_USER = "This token is a service's: it names no user, so there is no inbox to show. Log in with a user's token.";

const $ = (id) => document.getElementById(id);
const [form, field, button, problem, reason] =
  ["login-form", "token", "log-in", "login-error", "login-reason"].map($);

/** The token in what was pasted: quotes, line breaks or the whole header may be around it. Null if there is none. */
export function tokenIn(text) {
  const bare = text.replace(/\s+/g, " ").trim().replace(/^["']?(authorization: )?(bearer )?/i, "").replaceAll(/["' ]/g, "");
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(bare) ? bare : null;
}

export class Login {
  #who = null;
  #others = new BroadcastChannel("rowcast.login");

  /** entered(who) is called when a user is signed in, be it another one; left() when nobody is any more. */
  constructor({ entered, left }) {
    Object.assign(this, { entered, left });
    form.addEventListener("submit", (event) => this.#submitted(event));
    this.#others.onmessage = () => this.#changedElsewhere();
  }

  /** Asks the server who is signed in, and enters or leaves accordingly; throws a Problem if it does not tell. */
  async look(before = this.#who) {
    try {
      this.#enter(await whoIsThere());
    } catch (error) {
      if (!(error instanceof Problem && error.signedOut)) throw error;
      this.leave(error, before);
    }
  }

  /** Another tab has signed out, or in as somebody: what is shown here goes first, for the server may not answer. */
  #changedElsewhere() {
    const before = this.#who;
    this.leave();
    this.look(before).catch(() => {});
  }

  /** Nobody is signed in any more; `error` is the server's refusal, `before` who was. */
  leave(error = null, before = this.#who) {
    const text = before && error ? whyLeft(before, error) : null;
    this.#who = null;
    this.#show(text);
  }

  /** Lets the next look enter again, be it as the same user. */
  forget() {
    this.#who = null;
  }

  async signOut() {
    await signOut();
    this.leave();
    this.#others.postMessage("signed out");
  }

  #enter(who) {
    if (who.user_id === null) {
      this.#who = null;
      this.#show(NO_USER);
      return;
    }
    const isSame = this.#who?.user_id === who.user_id && this.#who.scope === who.scope;
    this.#who = who;
    document.body.dataset.view = "inbox";
    if (!isSame) this.entered(who);
  }

  #show(text) {
    const isNew = document.body.dataset.view !== "login";
    reason.hidden = text === null;
    reason.textContent = text ?? "";
    if (!isNew) return;
    this.left();
    document.body.dataset.view = "login";
    this.#complain(null);
    field.focus();
  }

  #complain(text) {
    problem.hidden = text === null;
    problem.textContent = text ?? "";
    field.setAttribute("aria-invalid", String(text !== null));
    if (text !== null) field.select();
  }

  async #submitted(event) {
    event.preventDefault();
    const token = tokenIn(field.value);
    if (token === null) {
      this.#complain(NO_TOKEN);
      return;
    }
    button.disabled = true;
    try {
      await signIn(token);
      field.value = "";
      await this.#entrance();
      this.#others.postMessage("signed in");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#complain(error.message);
    } finally {
      button.disabled = false;
    }
  }

  async #entrance() {
    this.#complain(null);
    try {
      this.#enter(await whoIsThere());
    } catch (error) {
      throw error.signedOut ? new Problem(error.status, NOT_KEPT) : error;
    }
  }
}

function whyLeft(who, error) {
  const isOver = who.expires_at !== null && Date.now() >= Date.parse(who.expires_at) - 1000;
  return isOver ? `Your token has expired. ${ONCE_MORE}` : `You are signed out. ${error.message}`;
}
