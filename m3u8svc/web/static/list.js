// The list of tasks. It is drawn in blocks; a block that is not near the screen is empty space of its height.
// Everything that came from elsewhere is shown as text only.

import { taskPath } from "./api.js";
import { Dialog, Icon, IconButton, clock, html, size, useEffect, useRef, useSignal } from "./view.js";
import { dialog, language, text } from "./state.js";
import { BLOCK, DONE, FAILED, PAUSED, RUNNING, WAITING, act, actAll, block, blockCount, can, look, pause, resume, selected, taskOf, total } from "./tasks.js";
import { advice, nameOf, phase, state, trouble } from "./texts.js";

const ROW_PX = 76;          // about what a row takes, for blocks that were not drawn yet
const heights = new Map();  // of the blocks that were

const watching = new IntersectionObserver(entries => {
  for (const entry of entries) entry.target.near?.(entry.isIntersecting, entry.boundingClientRect.height);
}, { rootMargin: "600px 0px" });

export function List() {
  if (total.value === 0) return html`<p id="empty" class="empty">${text.value.empty}</p>`;
  const all = blockCount.value;
  return html`
    <div id="tasks" class="tasks" role="list" aria-label=${text.value.tasks}>
      ${Array.from({ length: all }, (_, number) => html`<${Block} key=${number} number=${number} />`)}
    </div>`;
}

function Block({ number }) {
  const element = useRef();
  const near = useSignal(number === 0);
  useEffect(() => {
    element.current.near = (is, height) => {
      if (!is && near.peek()) heights.set(number, height);
      near.value = is;
      look(number, is);
    };
    const observed = element.current;
    watching.observe(observed);
    return () => { watching.unobserve(observed); look(number, false); };
  }, []);
  const ids = near.value ? block(number).value : null;
  const count = Math.min(BLOCK, total.value - number * BLOCK);
  const style = ids ? {} : { height: `${heights.get(number) ?? count * ROW_PX}px` };
  return html`
    <div class="block" role="none" ref=${element} style=${style}>
      ${ids?.map((id, place) => html`<${Row} key=${id} id=${id} place=${number * BLOCK + place} />`)}
    </div>`;
}

function Row({ id }) {
  const task = taskOf(id)?.value;
  if (!task) return null;
  const words = text.value, name = nameOf(task);
  const is = (...names) => names.includes(task.status);
  const held = is(PAUSED) && Boolean(task.held);   // by the service, not by the user
  const kind = is(RUNNING) || task.again ? "running" : is(DONE) ? "done" : is(FAILED) ? "failed" : held ? "held" : is(PAUSED) ? "paused" : "waiting";
  const warnings = task.warnings ?? [];
  return html`
    <article class="task ${kind}" role="listitem" tabindex="-1" data-id=${id} aria-label=${name}>
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
        ${is(WAITING) && task.queue_position > 1 && html`<${IconButton} icon="first" label=${words.first} class="icon-button first" onClick=${() => act("PUT", taskPath(id), { queue: "first" })} />`}
        ${can.pause(task) && html`<${IconButton} icon="pause" label=${words.pause} class="icon-button pause" onClick=${() => pause(id)} />`}
        ${can.resume(task) && html`<${IconButton} icon=${is(FAILED) ? "retry" : "play"} label=${is(FAILED) ? words.retry : words.resume} class="icon-button resume" onClick=${() => resume(id)} />`}
        <${IconButton} icon="trash" label=${words.remove} class="icon-button remove" onClick=${() => askToRemove([task])} />
      </div>
      ${task.err_msg && html`<p class="error">${trouble(language.value, task)}</p>`}
      ${advice(language.value, task) && html`<p class="advice">${advice(language.value, task)}</p>`}
      ${held && task.held === "needs_url" && html`<${Renew} id=${id} />`}
      ${task.output && html`<p class="output">${task.output}</p>`}
      ${warnings.length > 0 && html`<details class="warnings"><summary>${words.warnings(warnings.length)}</summary><p>${warnings.join("\n")}</p></details>`}
    </article>`;
}

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
