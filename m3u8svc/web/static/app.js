// The task list: one row per task, kept alive by /ws/progress, with polling where that does not work. What its
// messages do not carry (segments, bytes) is asked for now and then, of the running tasks only.
// Everything that came from elsewhere is shown through textContent only.

import { TEXTS, advice, complaint, phase, preferred, remember, state, trouble } from "./texts.js";

const POLL_MS = 2000;
const REFRESH_MS = 15000;
const COUNT_MS = 1000;
const RECONNECT_MS = 3000;
const HEALTH_MS = 15000;
const RUNNING = "下载中";

const $ = id => document.getElementById(id);
const rows = new Map();   // id -> { element, task }
let language = preferred();
let live = false;
let reload = 0;           // timer of the next list
let asking = false;       // one list at a time,
let recheck = 0;          // timer of the next look at how the service is
let again = false;        // and one more if something happened meanwhile

// -- Asking --

async function ask(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const answer = await response.json();
  if (response.status === 401) location.reload();   // the session is over: the login stands in the page's place
  if (!response.ok) throw new Error(complaint(language, response.headers.get("X-Error-Code"), answer));
  return answer;
}

async function list() {
  again = true;
  if (asking) return;
  asking = true;
  clearTimeout(reload);
  try {
    while (again) {
      again = false;
      show(await ask("GET", "api/tasks"));
    }
    mark(live ? "live" : "polling");
  } catch {
    mark("offline");
  }
  asking = false;
  reload = setTimeout(list, live ? REFRESH_MS : POLL_MS);
}

async function act(button, method, path, body) {
  button.disabled = true;
  try {
    const answer = await ask(method, path, body);
    notice((answer.warnings ?? []).join("；"), true);
    await list();
    return true;
  } catch (error) {
    notice(error.message, false);
    return false;
  } finally {
    button.disabled = false;
  }
}

// -- Listening --

function listen() {
  const address = new URL("ws/progress", document.baseURI);   // below whatever path a reverse proxy gave us
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.onopen = () => { live = true; list(); };
  socket.onmessage = event => hear(JSON.parse(event.data));
  socket.onclose = () => {
    if (live) { live = false; list(); }
    setTimeout(listen, RECONNECT_MS);
  };
}

function hear(message) {
  if (!message.id) return;
  const row = rows.get(message.id);
  if (!row) { list(); return; }
  const before = row.task.status;
  row.task = { ...row.task, eta: null, ...message };
  paint(row);
  if (row.task.status !== before) list();   // the end of a task has more to tell: its size, its error, its file
}

async function count() {
  const running = [...rows.values()].some(({ task }) => task.status === RUNNING);
  if (live && running && !document.hidden) {
    const tasks = await ask("GET", `api/tasks?status=${encodeURIComponent(RUNNING)}`).catch(() => []);
    for (const { id, segments_done, segments_total, bytes } of tasks) {
      const row = rows.get(id);
      if (row?.task.status !== RUNNING) continue;    // it ended meanwhile, and the list knows more
      row.task = { ...row.task, segments_done, segments_total, bytes };
      paint(row);
    }
  }
  setTimeout(count, COUNT_MS);
}

async function health() {
  const { degraded } = await ask("GET", "api/health").catch(() => ({ degraded: [] }));
  const end = language === "zh" ? "" : "_en";
  write($("degraded"), degraded.map(each => `${each["text" + end]} [${each.code}] ${each["advice" + end]}`).join("\n"));
  $("degraded").hidden = !degraded.length;
  clearTimeout(recheck);
  recheck = setTimeout(health, HEALTH_MS);
}

// -- Showing --

function show(tasks) {
  const present = new Set(tasks.map(task => task.id));
  for (const [id, row] of rows) {
    if (!present.has(id)) { row.element.remove(); rows.delete(id); }
  }
  for (const task of tasks) {
    let row = rows.get(task.id);
    if (!row) {
      row = { element: newRow(task.id), task };
      rows.set(task.id, row);
      $("tasks").prepend(row.element);      // newest first
    }
    row.task = task;
    paint(row);
  }
  $("empty").hidden = rows.size > 0;
}

function newRow(id) {
  const element = $("row").content.firstElementChild.cloneNode(true);
  const path = `api/tasks?id=${encodeURIComponent(id)}`;
  const on = (name, run) => element.querySelector(name).addEventListener("click", event => run(event.currentTarget));
  on(".first", button => act(button, "PUT", path, { queue: "first" }));
  on(".pause", button => act(button, "PUT", path, { status: "已暂停" }));
  on(".resume", button => act(button, "PUT", path, { status: "等待中" }));
  element.querySelector(".renew").addEventListener("submit", async event => {
    event.preventDefault();
    const link = event.currentTarget.querySelector("input");
    if (await act(event.submitter ?? link, "PUT", path, { url: link.value })) link.value = "";
  });
  on(".remove", button => {
    if (confirm(TEXTS[language].confirm(nameOf(rows.get(id).task)))) act(button, "DELETE", path);
  });
  return element;
}

function paint({ element, task }) {
  const text = TEXTS[language];
  const part = name => element.querySelector(name);
  const is = (...names) => names.includes(task.status);
  const held = is("已暂停") && Boolean(task.held);   // by the service, not by the user
  element.className = `task ${is(RUNNING) ? "running" : is("已完成") ? "done" : is("失败") ? "failed" : held ? "held" : ""}`;
  write(part(".name"), nameOf(task));
  write(part(".state"), held ? text.held : state(language, task.status));
  write(part(".bar"), language === "zh" ? task.status_bar : is(RUNNING) ? phase(language, task.phase) : "");
  write(part(".numbers"), numbers(task, text));
  write(part(".error"), trouble(language, task));
  write(part(".advice"), advice(language, task));
  write(part(".output"), task.output ?? "");
  const warnings = task.warnings ?? [];
  write(part(".warnings summary"), text.warnings(warnings.length));
  write(part(".warnings p"), warnings.join("\n"));
  part(".warnings").hidden = !warnings.length;
  part(".error").hidden = !task.err_msg;
  part(".advice").hidden = !advice(language, task);
  part(".output").hidden = !task.output;
  part("progress").value = task.progress ?? 0;
  part(".renew").hidden = !(held && task.held === "needs_url");
  part(".renew input").setAttribute("aria-label", text.url);
  write(part(".renew button"), text.renew);
  write(part(".first"), text.first);
  write(part(".pause"), text.pause);
  write(part(".resume"), is("失败") ? text.retry : text.resume);
  write(part(".remove"), text.remove);
  part(".first").hidden = !(is("等待中") && task.queue_position > 1);
  part(".pause").hidden = !is(RUNNING, "等待中");
  part(".resume").hidden = !is("已暂停", "失败");
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function nameOf(task) {
  if (task.filename) return task.filename;
  try { return decodeURIComponent(new URL(task.url).pathname.split("/").pop()) || task.id; } catch { return task.id; }
}

function numbers(task, text) {
  const shown = [];
  if (task.status === "等待中" && task.queue_position) shown.push(text.queued(task.queue_position));
  const told = language === "zh" && task.status_bar.includes("速度");   // the Chinese status bar says both already
  if (task.status === RUNNING && !told) {
    if (task.speed > 0) shown.push(`${size(task.speed)}/s`);
    if (task.eta != null) shown.push(text.left(clock(task.eta)));
  }
  if (task.segments_total) shown.push(`${task.segments_done}/${task.segments_total} ${text.segments}`);
  if (task.size || task.bytes) shown.push(size(task.size || task.bytes));
  shown.push(`${task.progress ?? 0}%`);
  return shown.join(" · ");
}

function size(bytes) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let step = 0;
  while (bytes >= 1024 && step < units.length - 1) { bytes /= 1024; step += 1; }
  return `${bytes.toFixed(step > 1 ? 2 : 0)}\u00a0${units[step]}`;
}

function clock(seconds) {
  const two = number => String(number).padStart(2, "0");
  return `${two(Math.floor(seconds / 60))}:${two(Math.floor(seconds % 60))}`;
}

function mark(name) {
  $("link").classList.toggle("live", name === "live");
  write($("link"), TEXTS[language][name]);
  $("link").dataset.text = name;
}

function notice(message, mild) {
  $("notice").classList.toggle("mild", mild);
  $("notice").hidden = !message;
  write($("notice"), message);
}

function speak() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) write(element, TEXTS[language][element.dataset.text]);
  write($("language"), TEXTS[language].other);
  for (const row of rows.values()) paint(row);
}

// -- Starting --

$("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  remember(language);
  speak();
  health();
});

$("add").addEventListener("submit", async event => {
  event.preventDefault();
  const done = await act(event.submitter ?? $("add").querySelector("button"), "POST", "api/tasks",
    { url: $("url").value, filename: $("filename").value });
  if (done) { $("add").reset(); $("url").focus(); }
});

$("logout").addEventListener("click", async () => {
  await ask("DELETE", "api/session").catch(() => {});
  location.reload();
});

async function session() {
  const { login, name } = await ask("GET", "api/session").catch(() => ({}));
  $("logout").hidden = !login;
  $("logout").title = name ?? "";
}

speak();
mark("polling");
session();
list();
listen();
count();
health();
