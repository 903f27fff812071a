// Puts the page together: asks for the key when the service wants one, fills the three sections, and looks again from time to time.

import * as client from "./client.js";
import { byId, element, notice, reportFailure } from "./dom.js";
import { loadPolicies, setUpPolicies } from "./policies.js";
import { loadTerminals, setUpTerminals } from "./terminals.js";

const INTERVAL_MS = 15000;

const STATUS_NAMES = {
  backend: "Backend", image: "Image", idle_timeout_minutes: "Idle minutes", max_cpu: "Most CPU", max_memory: "Most memory",
  max_storage: "Most storage", allowed_images: "Allowed images", active_terminals: "Running terminals", policy_count: "Policies",
  active_websocket_connections: "Open shells",
};

function statusText(name, value) {
  if (name === "idle_timeout_minutes" && !(value > 0)) return "never";
  if (Array.isArray(value)) return value.length > 0 ? value.join(", ") : "all";
  return value === null || value === "" ? "no limit" : String(value);
}

async function loadStatus() {
  const status = await client.status();
  byId("status").replaceChildren(...Object.entries(STATUS_NAMES).map(([name, title]) =>
    element("div", {}, element("dt", {}, title), element("dd", {}, statusText(name, status[name])))));
}

function askForKey(text) {
  byId("pages").hidden = true;
  byId("forget-key").hidden = true;
  byId("key-form").hidden = false;
  notice(text, text !== "");
  byId("key").focus();
}

// True when the service let us in.
async function load(quietly) {
  try {
    await loadStatus();
    await Promise.all([loadTerminals(), quietly ? null : loadPolicies()]);
  } catch (error) {
    if (error.status === 401 || error.status === 403) {
      const tried = client.key.get() !== "";
      client.key.forget();
      askForKey(tried ? error.message : "");
    } else {
      reportFailure(error);
    }
    return false;
  }
  byId("key-form").hidden = true;
  byId("pages").hidden = false;
  byId("forget-key").hidden = client.key.get() === "";
  return true;
}

async function takeKey(event) {
  event.preventDefault();
  client.key.set(byId("key").value.trim());
  byId("key").value = "";
  if (await load(false)) {
    notice("");
    byId("main").focus();
  }
}

function forgetKey() {
  client.key.forget();
  location.reload();
}

// Rows are not replaced under a pointer, a focus or a dialog.
function isBusy() {
  return document.hidden || byId("pages").hidden || document.querySelector("dialog[open]") !== null ||
    byId("terminal-rows").contains(document.activeElement);
}

async function loadAgain() {
  if (byId("terminals-auto").checked && !isBusy()) await load(true);
  setTimeout(loadAgain, INTERVAL_MS);
}

byId("key-form").addEventListener("submit", takeKey);
byId("forget-key").addEventListener("click", forgetKey);
byId("terminals-reload").addEventListener("click", () => load(true));
byId("policies-reload").addEventListener("click", () => loadPolicies().catch(reportFailure));
setUpTerminals();
setUpPolicies();
load(false);
setTimeout(loadAgain, INTERVAL_MS);
