// Small helpers for the page. Text from outside only ever becomes text nodes, never markup.

export const byId = (id) => document.getElementById(id);

// An element with properties and children; strings become text.
export function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// One line for everyone, read out by screen readers; `bad` for failures.
export function notice(text, bad = false) {
  const line = byId("notice");
  line.textContent = text;
  line.classList.toggle("bad", bad);
}

export const reportFailure = (error) => notice(error.message, true);

// Asks before something is done that cannot be undone. Gives true when the user agrees.
export function confirmed(title, text, verb) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = verb;
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// A button whose accessible name says what it acts on, and which cannot be pressed twice while it works.
export function actionButton(label, subject, work, danger = false) {
  const button = element("button", { type: "button", className: danger ? "danger" : "" }, label);
  button.setAttribute("aria-label", `${label} ${subject}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      reportFailure(error);
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

export function emptyRow(columns, text) {
  return element("tr", {}, element("td", { colSpan: columns, className: "empty" }, text));
}
