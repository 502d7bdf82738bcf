// The keyboard: one key for what is done often, and a dialog that says which.

import { Dialog, html } from "./view.js";
import { dialog, go, route, switchLanguage, switchTheme, text } from "./state.js";
import { bulkPause, bulkResume, askToRemove, removeChosen, selectAll, selectNone } from "./list.js";
import { selectBetween, select, selected, taskOf } from "./tasks.js";

const AFTER_G_MS = 1500;
let afterG = 0;
let anchor = null;

export function help() {
  const close = () => { dialog.value = null; };
  dialog.value = () => html`
    <${Dialog} title=${text.value.help} onClose=${close}>
      <dl class="keys">${text.value.helpKeys.map(([keys, what]) => html`
        <div key=${keys}><dt>${keys.split(" / ").map((key, place) => html`${place > 0 && " / "}<kbd>${key}</kbd>`)}</dt><dd>${what}</dd></div>`)}</dl>
      <div class="dialog-buttons"><button type="button" class="main" onClick=${close}>${text.value.close}</button></div>
    <//>`;
}

const rows = () => [...document.querySelectorAll(".task[data-id]")];
const current = () => document.activeElement?.closest?.(".task[data-id]") ?? null;

function step(by) {
  const all = rows(), at = all.indexOf(current());
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "nearest" });
}

// The selection, or else the task that has the focus.
const meant = () => selected.peek().size ? undefined : [current()].filter(Boolean).map(row => taskOf(row.dataset.id)?.peek()).filter(Boolean);

function pick(event) {
  const row = current();
  if (!row) return;
  const place = Number(row.dataset.place), task = taskOf(row.dataset.id)?.peek();
  if (event.shiftKey && anchor !== null) selectBetween(anchor, place);
  else if (task) select(task, !selected.peek().has(task.id));
  anchor = place;
}

const EVERYWHERE = {
  "?": help, t: switchTheme, l: switchLanguage, g: () => { afterG = Date.now(); },
  n: () => { go("#/"); requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById("url")?.focus())); },
  "/": () => { go("#/"); requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById("search")?.focus())); },
};
const IN_THE_LIST = {
  j: () => step(1), k: () => step(-1), ArrowDown: event => current() ? step(1) : event, ArrowUp: event => current() ? step(-1) : event,
  x: pick, X: pick, a: selectAll, Escape: selectNone,
  p: () => bulkPause(meant()), r: () => bulkResume(meant()),
  Delete: () => { const list = meant(); if (!list) removeChosen(); else if (list.length) askToRemove(list); },
  Enter: event => event.target.matches?.(".task") ? event.target.querySelector(".name").click() : event,
};
const AFTER_G = { s: "#/settings", p: "#/plugins", l: "#/" };

document.addEventListener("keydown", event => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || dialog.peek()) return;
  if (event.target.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select, video, [contenteditable]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (afterG && Date.now() - afterG < AFTER_G_MS && AFTER_G[event.key]) {
    afterG = 0;
    event.preventDefault();
    go(AFTER_G[event.key]);
    return;
  }
  afterG = 0;
  const run = EVERYWHERE[event.key] ?? (["", "tasks"].includes(route.peek().page) ? IN_THE_LIST[event.key] : undefined);
  if (run && run(event) !== event) event.preventDefault();
});
