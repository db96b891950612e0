// The sign in the header that says how the stream is.

import { say } from "./speech.js";

const TEXTS = { live: "live", connecting: "connecting", stopped: "not connected" };
const SPOKEN = { live: "Connection: live", waiting: "Connection lost, reconnecting", stopped: "Not connected" };

const sign = document.getElementById("connection");
const text = document.getElementById("connection-text");
const retry = document.getElementById("reconnect");

/** Returns whether this is another state than before. */
export function showConnection({ name, seconds }) {
  text.textContent = TEXTS[name] ?? `reconnecting in ${seconds} s`;
  retry.hidden = name !== "waiting";
  if (sign.dataset.state === name) return false;
  if (SPOKEN[name] && (name !== "live" || sign.dataset.lost)) say(SPOKEN[name]);
  if (name === "waiting") sign.dataset.lost = "yes";
  if (name === "live") delete sign.dataset.lost;
  sign.dataset.state = name;
  return true;
}
