// The tasks as the page knows them: the blocks of the list that are looked at, one signal a task. Of ten thousand tasks
// only what is on the screen is here, and a message about one of them redraws its row and no other.

import { ask, call, listen, taskPath } from "./api.js";
import { batch, computed, effect, signal } from "./view.js";
import { inLine, link, notify, say, text, warned, words } from "./state.js";
import { nameOf } from "./texts.js";

export const BLOCK = 50;          // tasks a block: what is asked for at once, and drawn at once
export const WAITING = "等待中", RUNNING = "下载中", PAUSED = "已暂停", DONE = "已完成", FAILED = "失败";
const POLL_MS = 2000;
const REFRESH_MS = 15000;
const SOON_MS = 200;
const AT_ONCE = 4;                // requests of a bulk under way

export const query = signal({ q: "", status: "", sort: "created", order: "desc" });
export const total = signal(null);            // matching tasks; null before the first answer
export const counts = signal(null);           // GET /api/counts
export const selected = signal(new Map());    // id -> the task as it was when it was selected
export const bulk = signal(null);             // { done, all } while one is under way
const tasks = new Map();                      // id -> signal of its task
const blocks = new Map();                     // number -> signal of its ids, null before they are known
const shown = new Set();                      // numbers of the blocks on the screen or near it
const heard = new Map();                      // id -> 下载中, of the tasks that the messages are about

let epoch = 0;                                // of the query: answers to older ones are thrown away
let live = false;
let timer = 0, timed = Infinity;
let asking = false, again = false;

export const blockCount = computed(() => Math.ceil((total.value ?? 0) / BLOCK));
export const taskOf = id => tasks.get(id);

export function block(number) {
  if (!blocks.has(number)) blocks.set(number, signal(null));
  return blocks.get(number);
}

// A block came near the screen, or left it: what nobody sees is forgotten.
export function look(number, near) {
  if (near) {
    if (shown.has(number)) return;
    shown.add(number);
    if (block(number).peek() === null) refresh();
    return;
  }
  shown.delete(number);
  blocks.get(number)?.peek() && (blocks.get(number).value = null);
  blocks.delete(number);
  const used = new Set([...blocks.values()].flatMap(ids => ids.peek() ?? []));
  for (const id of tasks.keys()) if (!used.has(id)) tasks.delete(id);
}

export function want(change) {
  query.value = { ...query.peek(), ...change };
  epoch += 1;
  for (const [number, ids] of blocks) if (number > 0) ids.value = null;
  refresh();
}

const listPath = (offset, limit) => {
  const { q, status, sort, order } = query.peek();
  const asked = new URLSearchParams({ sort, order, limit, offset });
  if (q) asked.set("q", q);
  if (status) asked.set("status", status);
  return `api/tasks?${asked}`;
};

// Ask again for all blocks that are looked at; one round at a time, and one more if something happened meanwhile.
export async function refresh() {
  again = true;
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  timed = Infinity;
  try {
    while (again) {
      again = false;
      await round();
    }
    link.value = live ? "live" : "polling";
  } catch (error) {
    if (error.status === undefined || error.status >= 500) link.value = "offline"; else say(words(error));
  }
  asking = false;
  const running = [...shown].some(number => (blocks.get(number)?.peek() ?? []).some(id => tasks.get(id)?.peek().status === RUNNING));
  soon(live && !running ? REFRESH_MS : POLL_MS);
}

async function round() {
  const now = epoch;
  const wanted = [...(shown.size ? shown : [0])];
  const answers = await Promise.all([...wanted.map(number => call("GET", listPath(number * BLOCK, BLOCK))), count()]);
  if (now !== epoch) { again = true; return; }
  batch(() => wanted.forEach((number, place) => {
    const { value, total: all } = answers[place];
    total.value = all ?? number * BLOCK + value.length;   // some proxies leave out headers that they do not know
    show(number, value);
  }));
}

function show(number, list) {
  for (const task of list) {
    const known = tasks.get(task.id);
    if (!known) tasks.set(task.id, signal(task));
    else if (JSON.stringify(known.peek()) !== JSON.stringify(task)) known.value = task;
  }
  const ids = list.map(task => task.id), before = block(number).peek();
  if (before === null || ids.join() !== before.join()) block(number).value = ids;
}

async function count() {
  counts.value = await ask("GET", "api/counts");
}

function soon(within = SOON_MS) {
  const at = Date.now() + within;
  if (asking) { again = again || within === SOON_MS; return; }
  if (at >= timed) return;
  clearTimeout(timer);
  timed = at;
  timer = setTimeout(() => { timed = Infinity; document.hidden ? soon(POLL_MS) : refresh(); }, within);
}

function hear(message) {
  const before = heard.get(message.id) ?? tasks.get(message.id)?.peek().status;
  if (message.status === RUNNING) heard.set(message.id, RUNNING); else heard.delete(message.id);
  const known = tasks.get(message.id);
  if (known) known.value = { ...known.peek(), eta: null, ...message };
  if (before === message.status) return;
  soon();           // a new one, or one that ended and has more to tell: its size, its error, its file
  if (before === RUNNING && [DONE, FAILED].includes(message.status)) tell(message);
}

async function tell({ id, status }) {
  if (!notify.peek()) return;
  const task = await ask("GET", taskPath(id)).catch(() => null);
  if (!task) return;
  const note = new Notification(status === DONE ? text.peek().noteDone : text.peek().noteFailed, { body: nameOf(task), icon: "static/icon.svg", tag: id });
  note.onclick = () => { window.focus(); location.hash = `#/task/${encodeURIComponent(id)}`; };
}

let started = false;
export function start() {
  if (started) return;
  started = true;
  shown.add(0);
  refresh();
  listen(hear, open => { live = open; refresh(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
}

// -- Doing --

// What can be done with a task, by what it is.
export const can = {
  pause: task => [RUNNING, WAITING].includes(task.status) || Boolean(task.again),
  resume: task => [PAUSED, FAILED].includes(task.status),
  order: task => task.status === WAITING,
};

export async function act(method, path, body) {
  try {
    const answer = await ask(method, path, body);
    say(inLine(warned(answer)), "mild");
    await refresh();
    return true;
  } catch (error) {
    say(words(error));
    return false;
  }
}

export const pause = id => act("PUT", taskPath(id), { status: PAUSED });
export const resume = id => act("PUT", taskPath(id), { status: WAITING });

// The same of many tasks, a few at a time; waits where the service says that it is too much at once.
export async function actAll(ids, method, pathOf, body) {
  const left = [...ids], failures = [];
  bulk.value = { done: 0, all: left.length };
  const work = async () => {
    for (let id = left.shift(); id !== undefined; id = left.shift()) {
      await patiently(() => ask(method, pathOf(id), body)).catch(error => failures.push(error));
      bulk.value = { done: bulk.peek().done + 1, all: bulk.peek().all };
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  bulk.value = null;
  say(failures.length ? text.peek().bulkFailed(failures.length, words(failures[0])) : "");
  await refresh();
}

async function patiently(run) {
  for (let attempt = 0; ; attempt += 1) {
    try { return await run(); } catch (error) {
      if (error.status !== 429 || attempt === 20) throw error;
      await new Promise(done => setTimeout(done, 1000));
    }
  }
}

// -- Selecting --

export function select(task, on) {
  const next = new Map(selected.peek());
  if (on) next.set(task.id, task); else next.delete(task.id);
  selected.value = next;
}

// The tasks at these places of the list, from those here or asked for.
export async function tasksBetween(first, last) {
  const found = [];
  for (let number = Math.floor(first / BLOCK); number <= Math.floor(last / BLOCK); number += 1) {
    const ids = blocks.get(number)?.peek();
    const list = ids ? ids.map(id => tasks.get(id).peek()) : await patiently(() => ask("GET", listPath(number * BLOCK, BLOCK)));
    list.forEach((task, place) => {
      const at = number * BLOCK + place;
      if (at >= first && at <= last) found.push(task);
    });
  }
  return found;
}

export async function selectBetween(first, last) {
  const found = await tasksBetween(Math.min(first, last), Math.max(first, last)).catch(() => []);
  selected.value = new Map([...selected.peek(), ...found.map(task => [task.id, task])]);
}

// -- Ordering --

const waiting = (offset, limit) => patiently(() => ask("GET", `api/tasks?${new URLSearchParams({ status: WAITING, sort: "queue", order: "asc", offset, limit })}`));

// Let a task that waits have the place of another. Places are counted among those of one priority, and those of a higher
// one come first.
export async function moveTo(id, target) {
  try {
    let place = 0;
    for (let offset = 0; offset < target.queue_position; offset += 1000) {
      const ahead = await waiting(offset, Math.min(1000, target.queue_position - offset));
      place += ahead.filter(task => task.priority === target.priority).length;
      if (!ahead.length) break;
    }
    return await act("PUT", taskPath(id), { priority: target.priority, queue: Math.max(1, place) });
  } catch (error) {
    say(words(error));
    return false;
  }
}

// The same by a step up (-1) or down (1).
export async function moveBy(task, step) {
  const at = task.queue_position - 1 + step;
  const [target] = at < 0 ? [] : await waiting(at, 1).catch(() => []);
  return target ? moveTo(task.id, target) : false;
}
