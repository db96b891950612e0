// The user who was shown last, for a visit without one in its address.

const REMEMBERED = "rowcast.user";

export function remember(user) {
  try {
    localStorage.setItem(REMEMBERED, user);
  } catch {
    // Storage may be forbidden; the address still has the user.
  }
}

/** Null if there is none. */
export function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}
