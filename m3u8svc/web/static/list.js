// The list of tasks. It is drawn in blocks; a block that is not near the screen is empty space of its height.
// Everything that came from elsewhere is shown as text only.

import { taskPath } from "./api.js";
import { Dialog, Icon, IconButton, clock, html, signal, size, useEffect, useRef, useSignal } from "./view.js";
import { dialog, language, say, text, warned } from "./state.js";
import { BLOCK, DONE, FAILED, PAUSED, RUNNING, WAITING, act, actAll, block, blockCount, bulk, can, counts, look, moveBy, moveTo, pause, query, resume, select,
  selectBetween, selected, taskOf, total, want } from "./tasks.js";
import { advice, nameOf, phase, state, trouble } from "./texts.js";

const ROW_PX = 69;          // about what a row takes, for blocks that were not drawn yet
const SEARCH_MS = 250;
const STATES = [RUNNING, WAITING, PAUSED, DONE, FAILED];
const SORTS = ["created", "name", "status", "progress", "size", "priority", "queue"];
const heights = new Map();  // of the blocks that were drawn
const dragged = signal(null);   // the task that is dragged
const onto = signal("");        // the id of that it would take the place of
let anchor = null;              // where a selection of many begins

const watching = new IntersectionObserver(entries => {
  for (const entry of entries) entry.target.near?.(entry.isIntersecting, entry.boundingClientRect.height);
}, { rootMargin: "600px 0px" });

function ask(change) {
  heights.clear();
  anchor = null;
  want(change);
}

// -- Above the list --

export function Toolbar() {
  const words = text.value, { q, status, sort, order } = query.value, numbers = counts.value;
  const typing = useRef(0);
  const tab = (name, label, number) => html`
    <button type="button" class="tab" aria-pressed=${status === name ? "true" : "false"} onClick=${() => ask({ status: name })}>
      ${label}<span class="number">${number ?? ""}</span></button>`;
  const search = event => {
    clearTimeout(typing.current);
    const wanted = event.target.value.trim();
    typing.current = setTimeout(() => ask({ q: wanted }), SEARCH_MS);
  };
  return html`
    <div class="toolbar">
      <div class="tabs" role="group" aria-label=${words.sorts.status}>
        ${tab("", words.all, numbers?.total)}${STATES.map(name => tab(name, state(language.value, name), numbers?.[name]))}
      </div>
      <div class="seek">
        <span class="search"><${Icon} name="search" /><input id="search" type="search" maxlength="200" defaultValue=${q} placeholder=${words.search} aria-label=${words.search} onInput=${search} /></span>
        <select id="sort" aria-label=${words.sortBy} value=${sort} onChange=${event => ask({ sort: event.target.value, order: ["created", "progress", "size", "priority"].includes(event.target.value) ? "desc" : "asc" })}>
          ${SORTS.map(name => html`<option key=${name} value=${name} selected=${name === sort}>${words.sorts[name]}</option>`)}</select>
        <${IconButton} id="order" icon=${order === "asc" ? "up" : "downward"} label=${order === "asc" ? words.ascending : words.descending} onClick=${() => ask({ order: order === "asc" ? "desc" : "asc" })} />
      </div>
    </div>
    <${Bulk} />`;
}

const chosen = () => [...selected.peek().values()].map(task => taskOf(task.id)?.peek() ?? task);
export const bulkPause = (list = chosen()) => actAll(list.filter(can.pause).map(task => task.id), "PUT", taskPath, { status: PAUSED });
export const bulkResume = (list = chosen()) => actAll(list.filter(can.resume).map(task => task.id), "PUT", taskPath, { status: WAITING });
export const selectAll = () => selectBetween(0, (total.peek() ?? 0) - 1);
export const selectNone = () => { selected.value = new Map(); };
export const removeChosen = () => askToRemove(chosen());

function Bulk() {
  const words = text.value, count = selected.value.size, going = bulk.value;
  if (!count && !going) return null;
  return html`
    <div id="bulk" class="bulk" role="region" aria-label=${words.selectedCount(count)}>
      <span aria-live="polite">${going ? words.working(going.done, going.all) : words.selectedCount(count)}</span>
      <button key="pause" type="button" disabled=${going} onClick=${() => bulkPause()}><${Icon} name="pause" />${words.pause}</button>
      <button key="resume" type="button" disabled=${going} onClick=${() => bulkResume()}><${Icon} name="play" />${words.resume}</button>
      <button key="remove" type="button" disabled=${going} onClick=${removeChosen}><${Icon} name="trash" />${words.remove}</button>
      ${count < total.value && html`<button key="all" type="button" class="plain" onClick=${selectAll}>${words.selectAll(total.value)}</button>`}
      <button key="none" type="button" class="plain" onClick=${selectNone}>${words.selectNone}</button>
    </div>`;
}

// -- The list itself --

export function List() {
  if (total.value === null) return html`<div class="tasks pending"></div>`;
  if (total.value === 0) {
    const any = query.value.q || query.value.status;
    return html`<p id="empty" class="empty">${any ? text.value.nothingFound : text.value.empty}</p>`;
  }
  return html`
    <div id="tasks" class="tasks ${query.value.sort === "queue" ? "ordering" : ""}" role="list" aria-label=${text.value.tasks}>
      ${Array.from({ length: blockCount.value }, (_, number) => html`<${Block} key=${number} number=${number} />`)}
    </div>`;
}

function Block({ number }) {
  const element = useRef();
  const near = useSignal(number === 0);
  useEffect(() => {
    const observed = element.current;
    observed.near = (is, height) => {
      if (!is && near.peek() && block(number).peek()) heights.set(number, height);
      near.value = is;
      look(number, is);
    };
    watching.observe(observed);
    return () => { watching.unobserve(observed); look(number, false); };
  }, []);
  const ids = near.value ? block(number).value : null;
  const count = Math.max(0, Math.min(BLOCK, total.value - number * BLOCK));
  return html`
    <div class="block" role="none" ref=${element} style=${{ height: ids ? "" : `${heights.get(number) ?? count * ROW_PX}px` }}>
      ${ids?.map((id, place) => html`<${Row} key=${id} id=${id} place=${number * BLOCK + place} />`)}
    </div>`;
}

function Row({ id, place }) {
  const open = useSignal(false);
  const task = taskOf(id)?.value;
  if (!task) return null;
  const words = text.value, name = nameOf(task);
  const is = (...names) => names.includes(task.status);
  const held = is(PAUSED) && Boolean(task.held);   // by the service, not by the user
  const kind = is(RUNNING) || task.again ? "running" : is(DONE) ? "done" : is(FAILED) ? "failed" : held ? "held" : is(PAUSED) ? "paused" : "waiting";
  const warnings = warned(task), isSelected = selected.value.has(id), movable = query.value.sort === "queue" && can.order(task);
  const onSelect = event => {
    if (event.shiftKey && anchor !== null) selectBetween(anchor, place); else select(task, !isSelected);
    anchor = place;
  };
  return html`
    <article class="task ${kind} ${isSelected ? "selected" : ""} ${onto.value === id ? "onto" : ""}" role="listitem" tabindex="-1" data-id=${id} data-place=${place}
      aria-label=${name} aria-posinset=${place + 1} aria-setsize=${total.value} ...${movable ? dropOf(task) : {}}>
      <input type="checkbox" class="pick" checked=${isSelected} aria-label=${words.selectTask(name)} onClick=${onSelect} />
      <div class="what">
        <a class="name" href="#/task/${encodeURIComponent(id)}" title=${name}>${name}</a>
        <div class="detail">
          <span class="bar">${language.value === "zh" ? task.status_bar : is(RUNNING) ? phase("en", task.phase) : ""}</span>
          <span class="numbers">${numbers(task, words)}</span>
        </div>
      </div>
      <span class="state">${held ? words.held : state(language.value, task.status)}</span>
      <progress max="100" value=${task.progress ?? 0} aria-label=${name}></progress>
      <div class="buttons">
        ${movable && html`<button key="drag" type="button" class="icon-button drag" draggable="true" aria-label=${words.drag} title=${words.drag} ...${dragOf(task)}><${Icon} name="drag" /></button>`}
        ${is(WAITING) && task.queue_position > 1 && html`<${IconButton} key="first" icon="first" label=${words.first} class="icon-button first" onClick=${() => act("PUT", taskPath(id), { queue: "first" })} />`}
        ${can.pause(task) && html`<${IconButton} key="pause" icon="pause" label=${words.pause} class="icon-button pause" onClick=${() => pause(id)} />`}
        ${can.resume(task) && html`<${IconButton} key="resume" icon=${is(FAILED) ? "retry" : "play"} label=${is(FAILED) ? words.retry : words.resume} class="icon-button resume" onClick=${() => resume(id)} />`}
        <${IconButton} key="remove" icon="trash" label=${words.remove} class="icon-button remove" onClick=${() => askToRemove([task])} />
        <button key="more" type="button" class="icon-button expand ${open.value ? "on" : ""}" aria-label=${words.more} title=${words.more} aria-expanded=${open.value ? "true" : "false"} onClick=${() => { open.value = !open.value; }}><${Icon} name="more" /></button>
      </div>
      ${task.err_msg && html`<p class="error">${trouble(language.value, task)}</p>`}
      ${advice(language.value, task) && html`<p class="advice">${advice(language.value, task)}</p>`}
      ${held && task.held === "needs_url" && html`<${Renew} id=${id} />`}
      ${task.output && html`<p class="output" title=${task.output}>${task.output}</p>`}
      ${warnings.length > 0 && html`<details class="warnings"><summary>${words.warnings(warnings.length)}</summary><p>${warnings.join("\n")}</p></details>`}
      ${open.value && html`<${More} task=${task} />`}
    </article>`;
}

// What is seldom wanted of a task: its link, its priority, its place in the queue.
function More({ task }) {
  const words = text.value;
  const priority = useRef();
  const set = event => {
    event.preventDefault();
    act("PUT", taskPath(task.id), { priority: Number(priority.current.value) });
  };
  return html`
    <div class="more">
      <p class="address"><span class="hint">${words.address}</span> ${task.url || "—"}</p>
      <form onSubmit=${set}>
        <label>${words.priority}<input type="number" min="-100" max="100" step="1" required ref=${priority} defaultValue=${task.priority} /></label>
        <button type="submit">${words.setPriority}</button>
        ${can.order(task) && html`
          <button type="button" onClick=${() => moveBy(task, -1)}>${words.moveUp}</button>
          <button type="button" onClick=${() => moveBy(task, 1)}>${words.moveDown}</button>
          <button type="button" onClick=${() => act("PUT", taskPath(task.id), { queue: "last" })}>${words.last}</button>`}
        ${task.url && navigator.clipboard && html`<button type="button" onClick=${() => navigator.clipboard.writeText(task.url).then(() => say(words.copied, "good"))}>${words.copy}</button>`}
      </form>
    </div>`;
}

const dragOf = task => ({
  onDragStart: event => {
    event.dataTransfer.setData("application/x-task", task.id);
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setDragImage(event.target.closest(".task"), 20, 20);
    dragged.value = task;
  },
  onDragEnd: () => { dragged.value = null; onto.value = ""; },
  onKeyDown: async event => {
    if (!["ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    await moveBy(taskOf(task.id)?.peek() ?? task, event.key === "ArrowUp" ? -1 : 1);
    document.querySelector(`[data-id="${CSS.escape(task.id)}"] .drag`)?.focus();
  },
});

const dropOf = task => ({
  onDragOver: event => {
    if (!dragged.peek() || dragged.peek().id === task.id) return;
    event.preventDefault();
    onto.value = task.id;
  },
  onDrop: event => {
    const moved = dragged.peek();
    if (!moved) return;
    event.preventDefault();
    event.stopPropagation();
    onto.value = "";
    dragged.value = null;
    moveTo(moved.id, task);
  },
});

// A place for another link, where the old one has expired.
function Renew({ id }) {
  const renew = async event => {
    event.preventDefault();
    const link = event.currentTarget.querySelector("input");
    if (await act("PUT", taskPath(id), { url: link.value })) link.value = "";
  };
  return html`
    <form class="renew" autocomplete="off" onSubmit=${renew}>
      <input type="url" required maxlength="8192" placeholder="https://…/index.m3u8" aria-label=${text.value.url} />
      <button type="submit" class="main">${text.value.renew}</button>
    </form>`;
}

export function numbers(task, words) {
  const shown = [];
  if (task.status === WAITING && task.queue_position) shown.push(words.queued(task.queue_position));
  const told = words === text.value && language.value === "zh" && task.status_bar.includes("速度");   // the Chinese status bar says both already
  if (task.status === RUNNING && !told) {
    if (task.speed > 0) shown.push(`${size(task.speed)}/s`);
    if (task.eta != null) shown.push(words.left(clock(task.eta)));
  }
  if (task.segments_total) shown.push(`${task.segments_done}/${task.segments_total} ${words.segments}`);
  if (task.size || task.bytes) shown.push(size(task.size || task.bytes));
  shown.push(`${task.progress ?? 0}%`);
  return shown.join(" · ");
}

// Ask whether these tasks shall go, and their files with them.
export function askToRemove(list) {
  dialog.value = () => html`<${RemoveDialog} list=${list} />`;
}

function RemoveDialog({ list }) {
  const files = useRef();
  const words = text.value;
  const close = () => { dialog.value = null; };
  const remove = event => {
    event.preventDefault();
    const more = files.current.checked ? "&files=true" : "";
    close();
    const ids = list.map(task => task.id);
    selected.value = new Map([...selected.peek()].filter(([id]) => !ids.includes(id)));
    if (ids.length === 1) act("DELETE", taskPath(ids[0]) + more); else actAll(ids, "DELETE", id => taskPath(id) + more);
  };
  return html`
    <${Dialog} title=${words.removeTitle(list.length)} onClose=${close}>
      <form onSubmit=${remove}>
        <ul class="names">${list.slice(0, 5).map(task => html`<li>${nameOf(task)}</li>`)}${list.length > 5 && html`<li>…</li>`}</ul>
        <label class="check"><input type="checkbox" ref=${files} />${words.withFiles}</label>
        <p class="hint">${words.removeKept}</p>
        <div class="dialog-buttons">
          <button type="button" onClick=${close}>${words.cancel}</button>
          <button type="submit" class="danger">${words.remove}</button>
        </div>
      </form>
    <//>`;
}
