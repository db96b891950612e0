// The card that sends a notification from the page.

const $ = (id) => document.getElementById(id);

/** send(message, {toEveryone}) does it and returns whether it could, null if no user is chosen yet. */
export function listenToSendCard(send) {
  $("send-form").addEventListener("submit", (event) => submitted(event, send));
  $("message").addEventListener("keydown", sendOnEnter);
}

async function submitted(event, send) {
  event.preventDefault();
  const [message, button] = [$("message"), $("send")];
  button.disabled = true;
  const isSent = await send(message.value, { toEveryone: $("everyone").checked });
  button.disabled = false;
  if (isSent) message.value = "";
  if (isSent !== null) message.focus();
}

function sendOnEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("send-form").requestSubmit();
}
