// Asking the service, and listening to it. Paths are relative: below whatever path a reverse proxy gave us.

const RECONNECT_MS = 3000;

// What the service said instead of doing it: `code`, `status`, the text in both languages, and by field what is wrong.
export class Refusal extends Error {
  constructor(status, code, zh, en) {
    super(zh);
    Object.assign(this, { status, code, zh, en });
  }

  text(language) {
    return language === "en" && this.en ? upper(this.en) : this.zh;
  }

  // { field: text } of an invalid_request; what names no field is under "". What a plugin says of its options stands beside
  // the field of all plugins, and begins with its name.
  fields(language) {
    const found = {};
    if (this.code === "bad_option") return { plugins: (language === "en" && this.en || this.zh).replace(/^(解析请求失败：)?plugins\./, "") };
    if (this.code !== "invalid_request") return found;
    const told = language === "en" && this.en ? this.en.replace(/^[^:]*cannot be understood: /, "") : this.zh.replace(/^解析请求失败：/, "");
    for (const each of told.split("; ")) {
      const [, name, why] = /^([a-z_]+): (.*)$/s.exec(each) ?? [null, "", each];
      found[name] = found[name] ? `${found[name]}; ${why}` : why;
    }
    return found;
  }
}

const upper = text => text.slice(0, 1).toUpperCase() + text.slice(1);

// { value, total, headers }: the answer's JSON, and X-Total-Count where there is one (else null).
export async function call(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  if (response.status === 401) location.reload();   // the session is over: the login stands in the page's place
  const value = await response.json();
  if (!response.ok) {
    throw new Refusal(response.status, response.headers.get("X-Error-Code") ?? "", String(value), english(response));
  }
  const total = response.headers.get("X-Total-Count");
  return { value, total: total === null ? null : Number(total), headers: response.headers };
}

// The answer's JSON; throws a Refusal, or a TypeError where nobody answers.
export const ask = async (method, path, body) => (await call(method, path, body)).value;

function english(response) {
  try { return decodeURIComponent(response.headers.get("X-Error-Text-En") ?? ""); } catch { return ""; }
}

export const taskPath = id => `api/tasks?id=${encodeURIComponent(id)}`;

// Messages of /ws/progress to `hear`, and to `turn` whether there is a connection; tries again for ever.
export function listen(hear, turn) {
  const address = new URL("ws/progress", document.baseURI);
  address.hash = "";
  address.search = "";
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  let open = false;
  socket.onopen = () => { open = true; turn(true); };
  socket.onmessage = event => {
    const message = JSON.parse(event.data);
    if (message.id) hear(message);
  };
  socket.onclose = () => {
    if (open) turn(false);
    setTimeout(listen, RECONNECT_MS, hear, turn);
  };
}
