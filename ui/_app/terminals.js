// The table of terminals. All of them are kept in memory, so that the filter finds every one; only one page of rows is in the document.

import { listTerminals, refreshTerminal, stopTerminal } from "./client.js";
import { actionButton, byId, confirmed, element, emptyRow, notice } from "./dom.js";

const PAGE = 100;
const COLUMNS = 7;

let terminals = [];
let page = 0;

function idleText(seconds) {
  if (seconds === null) return "never";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

function matching() {
  const wanted = byId("terminal-filter").value.trim().toLowerCase();
  if (wanted === "") return terminals;
  return terminals.filter((terminal) =>
    [terminal.user_id, terminal.policy_id, terminal.context_id, terminal.phase, terminal.instance_name]
      .some((text) => (text ?? "").toLowerCase().includes(wanted)));
}

const keyOf = ({ user_id, policy_id, context_id }) => ({ user_id, policy_id, context_id });

async function act(terminal, title, text, verb, work, done) {
  if (!await confirmed(title, text, verb)) return;
  await work(keyOf(terminal));
  notice(done);
  await loadTerminals();
  byId("terminal-rows").closest(".scroll").focus();     // the button that had the focus is gone
}

function actions(terminal) {
  const subject = `terminal of ${terminal.user_id}, policy ${terminal.policy_id}, context ${terminal.context_id}`;
  return element("td", { className: "actions" },
    actionButton("Stop", subject, () => act(terminal, "Stop this terminal?",
      `The ${subject} is stopped. Running commands end; the home stays.`, "Stop", stopTerminal, "The terminal was stopped.")),
    actionButton("Refresh", subject, () => act(terminal, "Refresh this terminal?",
      `The ${subject} is stopped and takes its policy's present settings at the next start. The home stays.`, "Refresh",
      (key) => refreshTerminal(key, false), "The terminal was refreshed.")),
    actionButton("Reset", subject, () => act(terminal, "Reset this terminal?",
      `The ${subject} is stopped and EVERYTHING IN ITS HOME IS DELETED. This cannot be undone.`, "Delete the home",
      (key) => refreshTerminal(key, true), "The terminal was reset."), true));
}

function row(terminal) {
  const phase = element("td", {}, element("span", { className: `phase-${terminal.phase}` }, terminal.phase));
  if (terminal.message) phase.append(element("span", { className: "message" }, terminal.message));
  const active = element("td", {}, idleText(terminal.idle_seconds));
  if (terminal.last_active_at) active.title = terminal.last_active_at;
  const instance = element("td", {}, terminal.instance_name ?? "–");
  if (terminal.host) instance.append(element("span", { className: "message" }, `${terminal.host}:${terminal.port ?? ""}`));
  return element("tr", {}, element("th", { scope: "row" }, terminal.user_id), element("td", {}, terminal.policy_id),
    element("td", {}, terminal.context_id), phase, active, instance, actions(terminal));
}

export function showTerminals() {
  const shown = matching();
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  page = Math.min(page, pages - 1);
  const rows = shown.slice(page * PAGE, (page + 1) * PAGE).map(row);
  byId("terminal-rows").replaceChildren(...(rows.length > 0 ? rows
    : [emptyRow(COLUMNS, terminals.length === 0 ? "There are no terminals." : "No terminal matches the filter.")]));
  byId("terminal-count").textContent = shown.length === terminals.length
    ? `${terminals.length} terminals` : `${shown.length} of ${terminals.length} terminals`;
  byId("terminals-page").textContent = `Page ${page + 1} of ${pages}`;
  byId("terminals-previous").disabled = page === 0;
  byId("terminals-next").disabled = page === pages - 1;
}

export async function loadTerminals() {
  terminals = await listTerminals();
  showTerminals();
}

function turn(by) {
  page += by;
  showTerminals();
}

export function setUpTerminals() {
  byId("terminal-filter").addEventListener("input", () => { page = 0; showTerminals(); });
  byId("terminals-previous").addEventListener("click", () => turn(-1));
  byId("terminals-next").addEventListener("click", () => turn(1));
}
