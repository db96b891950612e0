// The SQL line to paste into psql, and its copy button.

import { say } from "./speech.js";

const line = document.getElementById("sql");
const label = document.getElementById("copy-text");

export function showSql(user) {
  const parts = ["INSERT INTO notifications ", "(user_id, message) ", `VALUES (${user}, 'hello from psql');`];
  line.replaceChildren(...parts.map((part) => Object.assign(document.createElement("span"), { textContent: part })));
}

export async function copySql() {
  const isCopied = await writeClipboard(line.textContent);
  label.textContent = isCopied ? "Copied" : "Press Ctrl+C";
  say(isCopied ? "SQL copied" : "The SQL is selected, press Ctrl+C");
  setTimeout(() => { label.textContent = "Copy"; }, 2000);
}

/** False if the browser refuses; the line is left selected then. Plain HTTP from another machine has no clipboard API. */
async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(line);
    return document.execCommand("copy");
  }
}
