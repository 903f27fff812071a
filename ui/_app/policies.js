// The table of policies, and one editor for their data and their lifecycles: JSON as it is stored, so that no field is out of reach.

import * as client from "./client.js";
import { actionButton, byId, confirmed, element, emptyRow, notice } from "./dom.js";

const COLUMNS = 8;
const POLICY_HINT = "Fields: image, env, cpu_limit, memory_limit, storage, storage_mode, idle_timeout_minutes, restricted, access, and others.";
const LIFECYCLE_HINT = "Example: {\"reset\": {\"schedule\": \"@weekly\", \"timezone\": \"Europe/Berlin\"}}. A schedule is a time, an @name or a cron expression; {} means never.";

let save = null;        // what the open editor does with its id and its value

function showProblems(problems) {
  byId("editor-problems").replaceChildren(...problems.map((problem) => element("li", {}, problem)));
}

function openEditor({ title, label, hint, asksId, value, onSave }) {
  byId("editor-title").textContent = title;
  byId("editor-label").textContent = label;
  byId("editor-hint").textContent = hint;
  byId("editor-id-row").hidden = !asksId;
  byId("editor-id").required = asksId;
  byId("editor-id").value = "";
  byId("editor-text").value = JSON.stringify(value, null, 2);
  showProblems([]);
  save = onSave;
  byId("editor").showModal();
  byId(asksId ? "editor-id" : "editor-text").focus();
}

async function saveEditor(event) {
  event.preventDefault();
  let value;
  try {
    value = JSON.parse(byId("editor-text").value);
  } catch (error) {
    showProblems([`This is not JSON: ${error.message}`]);
    return;
  }
  try {
    await save(byId("editor-id").value, value);
    byId("editor").close();
    await loadPolicies();
  } catch (error) {
    showProblems(error.problems ?? [error.message]);
  }
}

function newPolicy() {
  openEditor({
    title: "New policy", label: "Settings (JSON)", hint: POLICY_HINT, asksId: true, value: {},
    onSave: async (id, data) => {
      await client.createPolicy(id, data);
      notice(`Policy ${id} was created.`);
    },
  });
}

function editPolicy(policy) {
  openEditor({
    title: `Policy ${policy.id}`, label: "Settings (JSON)", hint: POLICY_HINT, asksId: false, value: policy.data,
    onSave: async (_, data) => {
      await client.putPolicy(policy.id, data);
      notice(`Policy ${policy.id} was saved. Running terminals take it at their next start.`);
    },
  });
}

async function editLifecycle(policy) {
  const { data } = await client.getLifecycle(policy.id);
  openEditor({
    title: `Lifecycle of ${policy.id}`, label: "Lifecycle (JSON)", hint: LIFECYCLE_HINT, asksId: false, value: data,
    onSave: async (_, changed) => {
      await client.putLifecycle(policy.id, changed);
      notice(`The lifecycle of ${policy.id} was saved.`);
    },
  });
}

async function removePolicy(policy) {
  const text = `The policy ${policy.id} and its lifecycle are deleted. Its terminals and their homes stay, but cannot be reached through it.`;
  if (!await confirmed("Delete this policy?", text, "Delete")) return;
  await client.deletePolicy(policy.id);
  notice(`Policy ${policy.id} was deleted.`);
  await loadPolicies();
}

function row(policy) {
  const { data } = policy;
  const cell = (value) => element("td", {}, value === undefined || value === null ? "–" : String(value));
  const changed = element("td", {}, policy.updated_at.slice(0, 16));
  changed.title = policy.updated_at;
  const subject = `policy ${policy.id}`;
  return element("tr", {}, element("th", { scope: "row" }, policy.id), cell(data.image), cell(data.cpu_limit),
    cell(data.memory_limit), cell(data.storage), cell(data.idle_timeout_minutes), changed,
    element("td", { className: "actions" },
      actionButton("Edit", subject, () => editPolicy(policy)),
      actionButton("Lifecycle", `of ${subject}`, () => editLifecycle(policy)),
      actionButton("Delete", subject, () => removePolicy(policy), true)));
}

export async function loadPolicies() {
  const policies = await client.listPolicies();
  byId("policy-rows").replaceChildren(...(policies.length > 0 ? policies.map(row)
    : [emptyRow(COLUMNS, "No policy is stored: every terminal takes the service's own settings.")]));
}

export function setUpPolicies() {
  byId("policy-new").addEventListener("click", newPolicy);
  byId("editor-form").addEventListener("submit", saveEditor);
  byId("editor-cancel").addEventListener("click", () => byId("editor").close());
}
