// How times and texts are written on the page: functions of their arguments.

const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [7, "day"]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** "just now", "3 minutes ago", "yesterday"; from a week on the date. A clock that is ahead of ours says "just now". */
export function relativeTime(when, now) {
  let amount = Math.max(0, now - when) / 1000;
  if (amount < 45) return "just now";
  for (const [size, unit] of STEPS) {
    if (amount < size) return relative.format(-Math.floor(amount), unit);
    amount /= size;
  }
  return day.format(when);
}

export function exactTime(when) {
  return exact.format(when);
}

/** The first `length` code units, one less where that would cut a character in half. */
export function beginning(text, length) {
  return text.slice(0, length).replace(/[\ud800-\udbff]$/, "");
}

/** At most `length` code units on one line, with … where something is left out. */
export function excerpt(text, length) {
  const line = beginning(text, length * 4).replace(/\s+/g, " ").trim();
  return line.length > length ? `${beginning(line, length).trimEnd()}…` : line;
}

/** What a screen reader says about the notifications that have just come. */
export function announcement(messages) {
  const last = excerpt(messages.at(-1), 120);
  return messages.length === 1 ? `New notification: ${last}` : `${messages.length} new notifications, the last: ${last}`;
}
