// One client of the package named first, at the address named second: a line of JSON for each message, until it is killed.
import { createRequire } from "node:module";

const require = createRequire(`${process.env.CLIENTS}/`);
const [, , name, url] = process.argv;

const tell = (id, data) => process.stdout.write(`${JSON.stringify({ id, message: JSON.parse(data).message })}\n`);

if (name === "eventsource") {
  const { EventSource } = require("eventsource");
  new EventSource(url).onmessage = (event) => tell(event.lastEventId, event.data);
} else {
  // It is made for browsers, and asks these two only whether the page is seen.
  globalThis.window = globalThis;
  globalThis.document = { addEventListener() {}, removeEventListener() {} };
  const { fetchEventSource } = require("@microsoft/fetch-event-source");
  await fetchEventSource(url, {
    openWhenHidden: true,
    onopen() {},
    onmessage(event) {
      if (!event.event && event.data) tell(event.id, event.data);
    },
  });
}
