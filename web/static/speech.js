// What a screen reader says: one polite region, new notifications gathered so that a burst is one sentence.

import { announcement } from "./format.js";

const GATHER = 800;
const region = document.getElementById("announcer");
let gathered = [];

export function say(text) {
  region.textContent = text;
}

export function announce(messages) {
  if (gathered.length === 0) setTimeout(() => say(announcement(gathered.splice(0))), GATHER);
  gathered.push(...messages);
}
