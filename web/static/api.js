// The HTTP calls of the page. Addresses are relative, so that it works below a path of a proxy too.

const PERMANENT = new Set([400, 401, 403, 404, 422]);

/** A request without success, with the server's sentence on what to do as its message; status 0 if none answered. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }

  /** True if nobody is signed in, or no longer. */
  get signedOut() {
    return this.status === 401;
  }

  /** True if the same request can never succeed. */
  get permanent() {
    return PERMANENT.has(this.status);
  }
}

async function problemOf(response) {
  const body = await response.json().catch(() => null);
  const detail = body?.detail ?? body?.title ?? `The server answered ${response.status} ${response.statusText}.`;
  return new Problem(response.status, String(detail));
}

async function request(method, address, { body, token, signal, keepalive = false, read = (text) => text } = {}) {
  const headers = { Accept: "application/json" };
  if (token !== undefined) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    const response = await fetch(new URL(address, document.baseURI), {
      method, headers, body, signal, keepalive, cache: "no-store",
    });
    if (!response.ok) throw await problemOf(response);
    return response.status === 204 ? null : JSON.parse(read(await response.text()));
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw new Problem(0, "The server can't be reached. Try again in a moment.");
  }
}

/** What the server says of itself: the type of its user ids ("bigint", "uuid" or "text"), and whether it asks who is there ("off" or "jwt"). */
export async function serverFacts() {
  const { user_id_type, auth } = await request("GET", "./");
  return { userIdType: user_id_type, auth };
}

/** Turns a token into a cookie that no script can read. */
export function signIn(token) {
  return request("POST", "session", { token });
}

/** Who is signed in: {user_id, scope, expires_at}, the id as text; a Problem with status 401 if nobody is. */
export function whoIsThere() {
  // A bigint may be above 2^53.
  return request("GET", "session", { read: (text) => text.replace(/("user_id":\s*)(-?\d+)/, '$1"$2"') });
}

export function signOut() {
  return request("DELETE", "session");
}

/** The requests of one user. */
export class Api {
  constructor(userIds, user) {
    this.userIds = userIds;
    this.user = user;
    this.segment = encodeURIComponent(user);
  }

  list({ before = null, limit = 50, signal } = {}) {
    const query = new URLSearchParams({ user_id: this.user, limit: String(limit) });
    if (before !== null) query.set("before", String(before));
    return request("GET", `notifications?${query}`, { signal });
  }

  markOne(id) {
    const body = `{"is_viewed":true,"user_id":${this.userIds.json(this.user)}}`;
    return request("PATCH", `notifications/${encodeURIComponent(id)}`, { body, keepalive: true });
  }

  markUpTo(seq) {
    return request("POST", `users/${this.segment}/viewed`, { body: `{"up_to":${seq}}` });
  }

  send(message, { toEveryone }) {
    const user = toEveryone ? "null" : this.userIds.json(this.user);
    return request("POST", "notifications", { body: `{"user_id":${user},"message":${JSON.stringify(message)}}` });
  }

  /** The stream's address: from the last event id if there is one, else from the position of the list. */
  events({ since, lastEventId }) {
    const url = new URL(`events/${this.segment}`, document.baseURI);
    if (lastEventId) url.searchParams.set("lastEventId", lastEventId);
    else url.searchParams.set("since", since);
    return url;
  }
}
