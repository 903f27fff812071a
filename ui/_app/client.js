// Calls of the HTTP API. The key lives in sessionStorage: this tab only, gone when it is closed.

const KEY = "terminals-api-key";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

// What the API refused: `status`, and `problems`, a list of texts for people.
export class ApiError extends Error {
  constructor(status, problems) {
    super(problems.join("; "));
    this.status = status;
    this.problems = problems;
  }
}

// `detail` is a text, or a list of {loc, msg} as for wrong members of a body.
function problemsOf(answer, status) {
  const detail = answer?.detail;
  if (Array.isArray(detail)) {
    return detail.map(({ loc, msg, ctx }) => {
      const place = loc.filter((part) => part !== "body" && part !== "path" && part !== "query").join(".");
      return (place === "" ? "" : `${place}: `) + msg + (ctx?.error ? ` (${ctx.error})` : "");
    });
  }
  return [typeof detail === "string" ? detail : `The service answered with status ${status}.`];
}

async function call(method, path, body) {
  const headers = {};
  if (key.get() !== "") headers.Authorization = `Bearer ${key.get()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(`api/v1/${path}`, {
      method, headers, cache: "no-store", credentials: "same-origin", body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, ["The service cannot be reached."]);
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(response.status, problemsOf(answer, response.status));
  return { answer, next: response.headers.get("X-Next-Cursor") };
}

const policyPath = (id) => `policies/${encodeURIComponent(id)}`;
const answerOf = async (...request) => (await call(...request)).answer;

export const status = () => answerOf("GET", "status");
export const listPolicies = () => answerOf("GET", "policies");
export const createPolicy = (id, data) => answerOf("POST", "policies", { id, data });
export const putPolicy = (id, data) => answerOf("PUT", policyPath(id), data);
export const deletePolicy = (id) => answerOf("DELETE", policyPath(id));
export const getLifecycle = (id) => answerOf("GET", `${policyPath(id)}/lifecycle`);
export const putLifecycle = (id, data) => answerOf("PUT", `${policyPath(id)}/lifecycle`, data);
export const stopTerminal = (terminal) => answerOf("POST", "terminals/stop", terminal);
export const refreshTerminal = (terminal, reset) =>
  answerOf("POST", "terminals/refresh", { ...terminal, only_idle: false, reset });

// All terminals, read page by page.
export async function listTerminals() {
  const terminals = [];
  let cursor = null;
  do {
    const { answer, next } = await call("GET", `terminals?limit=1000${cursor ? `&cursor=${cursor}` : ""}`);
    terminals.push(...answer);
    cursor = next;
  } while (cursor);
  return terminals;
}
