// A client of the API as its description has it: fetch for the four calls, a WebSocket for what moves meanwhile.
// It knows nothing of the service that is not in that description, and reads every answer as JSON, errors too.

const TASKS = "/api/tasks";
const SETTINGS = "/api/settings";

const heard = [];          // every message of the socket, in order
const tasks = new Map();   // id -> the task as last listed, with what was heard since
const form = document.getElementById("create");

async function call(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  return { status: response.status, allow: response.headers.get("Allow"), body: await response.json() };
}

const create = task => call("POST", TASKS, task);
const list = () => call("GET", TASKS);
const pause = id => call("PUT", `${TASKS}?id=${id}`, { status: "已暂停" });
const resume = id => call("PUT", `${TASKS}?id=${id}`, { status: "等待中" });
const remove = id => call("DELETE", `${TASKS}?id=${id}`);
const readSettings = () => call("GET", SETTINGS);
const replaceSettings = settings => call("POST", SETTINGS, settings);

async function refresh() {
  const { body } = await list();
  tasks.clear();
  for (const task of body) tasks.set(task.id, task);
  draw();
}

function listen() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/ws/progress`);
  socket.addEventListener("message", event => {
    const message = JSON.parse(event.data);
    heard.push(message);
    const task = tasks.get(message.id);
    if (!task) return;                                     // {} says only that the service lives
    task.status_bar = message.status_bar ?? "";            // empty and zero fields may be left out
    task.progress = message.progress ?? 0;
    draw();
  });
  return new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", reject);
  });
}

function draw() {
  document.getElementById("tasks").replaceChildren(...[...tasks.values()].map(row));
}

function row(task) {
  const line = document.createElement("tr");
  line.id = task.id;
  for (const field of ["filename", "status", "status_bar", "progress", "err_msg"]) {
    const cell = document.createElement("td");
    cell.className = field;
    cell.textContent = task[field] ?? "";
    line.append(cell);
  }
  for (const [label, act] of [["pause", pause], ["resume", resume], ["remove", remove]]) {
    const button = document.createElement("button");
    button.className = label;
    button.textContent = label;
    button.addEventListener("click", async () => {
      say(await act(task.id));
      await refresh();
    });
    line.append(button);
  }
  return line;
}

function say({ status, body }) {
  document.getElementById("said").textContent = `${status} ${JSON.stringify(body)}`;
}

function asked() {
  const fields = form.elements;
  const task = { url: fields.url.value, filename: fields.filename.value };
  if (fields.header.value) {
    const [name, value] = fields.header.value.split(": ");
    Object.assign(task, { use_http_headers: true, http_headers: { [name]: [value] } });
  }
  if (fields.advanced.checked) {
    Object.assign(task, {
      advanced: true,
      download_threads: Number(fields.download_threads.value),
      skip_ts_info: fields.skip_ts_info.value,
      keep_ts_files: fields.keep_ts_files.checked,
    });
  }
  return task;
}

form.addEventListener("submit", async event => {
  event.preventDefault();
  say(await create(asked()));
  await refresh();
});

window.client = { call, create, list, pause, resume, remove, readSettings, replaceSettings, refresh, heard };
await listen();
await refresh();
setInterval(refresh, 1000);                                // states are in the list, not in the socket's messages
document.body.dataset.ready = "yes";
