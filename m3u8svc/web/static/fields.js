// The fields of a task and of the system settings, as people fill them in: what each is called, how it is typed, and
// how what was typed becomes JSON. `add` are those of a new task, `system` those with a default in the settings.

import { html, size } from "./view.js";
import { language, text } from "./state.js";

// name, kind, English, Chinese, where (a: add, s: settings), choices or hint
const GROUPS = [
  ["choose", "What to download", "下载什么", [
    ["variant", "text", "Variant", "清晰度", "as", "best, worst, 720p, height<=1080"],
    ["audio", "text", "Sound", "音轨", "as", "en,fr · all"],
    ["subtitles", "text", "Subtitles", "字幕", "as", "none · en,zh · all"],
    ["subtitle_files", "text", "Files of subtitles", "字幕文件", "as", "vtt · srt · vtt,srt · none"],
    ["groups", "text", "Groups to keep", "保留的分组", "a", "1,3-5"],
    ["skip_ts_info", "text", "Segments to skip", "跳过的分片", "as", "1-12,http.code=404"],
  ]],
  ["result", "The result", "结果", [
    ["save_location", "text", "Directory", "保存位置", "as", "/home/me/Videos"],
    ["temp_directory", "text", "Directory for segments", "临时目录", "as"],
    ["merger", "name", "Format", "合并方式", "as", "mergers"],
    ["storage", "name", "Storage", "存储", "as", "storages"],
    ["on_param_change", "name", "When the coding changes", "编码参数变化时", "as", ["keep", "split"]],
    ["faststart", "bool", "Index at the beginning of the MP4", "MP4 索引放在开头", "a"],
    ["allow_gaps", "bool", "Allow gaps for segments that are lost", "允许缺少分片", "a"],
    ["low_disk", "bool", "Use half the disk", "省磁盘模式", "as"],
    ["keep_ts_files", "bool", "Keep the segments", "保留分片文件", "as"],
    ["no_merge_ts", "bool", "Do not merge", "不合并", "as"],
    ["log_skipped_ts", "bool", "List what was skipped", "记录跳过的分片", "as"],
    ["use_server_file_time", "bool", "The server's time for the file", "使用服务器的文件时间", "as"],
    ["report", "bool", "Write a report", "生成报告", "as"],
    ["debug_log", "bool", "Write a debug log", "生成调试日志", "as"],
  ]],
  ["network", "Network", "网络", [
    ["http_headers", "headers", "Headers, one a line", "请求头，每行一个", "a", "Referer: https://example.com/"],
    ["header_hosts", "text", "Other hosts for secret headers", "可接收敏感请求头的其他主机", "as", "cdn.example,*.cdn.example"],
    ["download_threads", "number", "Connections (0: as many as are worth it)", "连接数（0：自动）", "as"],
    ["limit_rate", "rate", "Speed limit per second (0: none)", "限速，每秒（0：不限）", "a", "500K · 2M"],
    ["allow_insecure_https", "bool", "Accept any HTTPS certificate", "接受不可信的 HTTPS 证书", "as"],
    ["proxy_type", "name", "Proxy", "代理", "as", ["none", "http", "https", "socks5"]],
    ["proxy_host", "text", "Proxy's host", "代理主机", "as"],
    ["proxy_port", "number", "Proxy's port", "代理端口", "as"],
    ["proxy_username", "text", "Proxy's user name", "代理用户名", "as"],
    ["proxy_password", "secret", "Proxy's password", "代理密码", "as"],
  ]],
  ["limits", "Limits of the whole service", "整个服务的限速", [
    ["limit_rate", "rate", "Speed limit per second (0: none)", "限速，每秒（0：不限）", "s", "500K · 2M"],
    ["limit_rate_per_host", "rate", "Speed limit per host (0: none)", "每个主机限速，每秒（0：不限）", "s", "500K · 2M"],
    ["limit_schedule", "text", "Limits by the hour", "分时限速", "s", "Mon-Fri 08:00-18:00 2M; Sat,Sun 20:00-00:30 5M"],
  ]],
  ["more", "More", "更多", [
    ["priority", "number", "Priority (-100 to 100)", "优先级（-100 到 100）", "a"],
    ["key", "text", "AES key of the stream", "流的 AES 密钥", "a", "hex, base64"],
    ["iv", "text", "IV of the stream", "流的 IV", "a", "hex"],
    ["append_query", "text", "Query to append to every link", "附加到每个链接的查询", "a", "a=b&c=d · *"],
    ["base_url", "text", "What relative links are relative to", "相对链接的基准地址", "a", "https://…/"],
    ["plugins", "json", "Options of plugins (JSON)", "插件选项（JSON）", "as", '{"skip-ads": {"mode": "auto"}}'],
  ]],
];

export const groupsOf = where => GROUPS.map(([name, en, zh, fields]) => ({
  name, title: { en, zh },
  fields: fields.filter(each => each[4].includes(where)).map(([field, kind, fieldEn, fieldZh, , more]) => (
    { name: field, kind, label: { en: fieldEn, zh: fieldZh }, more })),
})).filter(group => group.fields.length);

const SYSTEM = new Set(["save_location", "temp_directory", "download_threads", "skip_ts_info", "keep_ts_files", "no_merge_ts",
  "log_skipped_ts", "allow_insecure_https", "proxy_type", "proxy_host", "proxy_port", "proxy_username", "proxy_password",
  "use_server_file_time", "debug_log"]);   // what a request sets only with "advanced"

// -- What is typed, and what it means --

export function typed(kind, value) {
  if (value === undefined || value === null) return "";
  if (kind === "bool") return value ? "yes" : "no";
  if (kind === "headers") return Object.entries(value).flatMap(([name, values]) => values.map(each => `${name}: ${each}`)).join("\n");
  if (kind === "json") return Object.keys(value).length ? JSON.stringify(value) : "";
  if (kind === "rate") return value % 2 ** 20 === 0 && value ? `${value / 2 ** 20}M` : value % 1024 === 0 && value ? `${value / 1024}K` : String(value);
  return Array.isArray(value) ? value.join(",") : String(value);
}

const UNITS = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

// The value of what was typed; throws an Error with a text of ours where that cannot be.
export function meant(kind, given, words) {
  if (kind === "bool") return given === "yes";
  if (kind === "number") return given.trim() !== "" && Number.isFinite(Number(given)) ? Number(given) : given;
  if (kind === "rate") {
    const found = /^\s*(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?(?:\/s)?\s*$/i.exec(given);
    return found ? Math.round(Number(found[1]) * UNITS[found[2].toLowerCase()]) : given;
  }
  if (kind === "headers") {
    const headers = {};
    for (const line of given.split("\n").filter(each => each.trim())) {
      const at = line.indexOf(":");
      if (at < 1) throw new Error(words.badHeader(line.trim()));
      (headers[line.slice(0, at).trim()] ??= []).push(line.slice(at + 1).trim());
    }
    return headers;
  }
  if (kind === "json") {
    try { return given.trim() ? JSON.parse(given) : {}; } catch { throw new Error(words.badJson); }
  }
  return given;
}

// { body, problems } of what was typed into the fields of `where`: for a task what is empty is left out.
export function bodyOf(where, values, words) {
  const body = {}, problems = {};
  for (const { name, kind } of groupsOf(where).flatMap(group => group.fields)) {
    const given = values[name] ?? "";
    if (where === "a" && given.trim() === "") continue;
    try { body[name] = given === "" && ["number", "rate"].includes(kind) ? 0 : meant(kind, given, words); } catch (error) { problems[name] = error.message; }
  }
  if (where === "a" && body.http_headers) body.use_http_headers = true;
  if (where === "a" && Object.keys(body).some(name => SYSTEM.has(name))) body.advanced = true;
  return { body, problems };
}

// -- How they are shown --

const shownDefault = (kind, value, words) => value === undefined ? ""
  : kind === "bool" ? (value ? words.yes : words.no)
  : kind === "rate" ? (value ? `${size(value)}/s` : "0") : typed(kind, value);

// One field: `values` and `problems` by name, `defaults` what the system has (for a new task), `change(name, text)`.
export function Field({ field, where, values, problems, defaults, offers, change }) {
  const { name, kind, label, more } = field;
  const words = text.value, id = `${where}-${name}`, why = problems[name];
  const value = values[name] ?? "";
  const standard = where === "a" ? shownDefault(kind, defaults?.[name] ?? (kind === "bool" ? false : undefined), words) : "";
  const common = {
    id, name, value, autocomplete: "off", spellcheck: false, "aria-invalid": why ? "true" : undefined,
    "aria-describedby": why ? `${id}-problem` : undefined, onInput: event => change(name, event.target.value),
  };
  const hint = standard ? words.standard(standard) : Array.isArray(more) || ["mergers", "storages"].includes(more) ? "" : more ?? "";
  const choices = Array.isArray(more) ? more : offers?.[more] ?? [];
  let control;
  if (kind === "bool") {
    control = where === "s"
      ? html`<label class="check"><input type="checkbox" id=${id} name=${name} checked=${value === "yes"} onChange=${event => change(name, event.target.checked ? "yes" : "no")} />${label[language.value]}</label>`
      : html`<select ...${common}><option value="">${words.standard(standard)}</option><option value="yes">${words.yes}</option><option value="no">${words.no}</option></select>`;
  } else if (kind === "name") {
    const all = value && !choices.includes(value) ? [value, ...choices] : choices;
    control = html`<select ...${common}>${where === "a" && html`<option value="">${words.standard(standard)}</option>`}${all.map(each => html`<option value=${each}>${each}</option>`)}</select>`;
  } else if (kind === "headers" || kind === "json") {
    control = html`<textarea rows=${kind === "headers" ? 3 : 2} placeholder=${hint} ...${common} />`;
  } else {
    control = html`<input type=${kind === "secret" ? "password" : "text"} inputmode=${kind === "number" ? "numeric" : undefined} placeholder=${hint} ...${common} autocomplete=${kind === "secret" ? "new-password" : "off"} />`;
  }
  return html`
    <div class="field kind-${kind}">
      ${!(kind === "bool" && where === "s") && html`<label for=${id}>${label[language.value]}</label>`}
      ${control}
      ${why && html`<p class="problem" id="${id}-problem">${why}</p>`}
    </div>`;
}

export function Fields({ where, open, ...rest }) {
  return groupsOf(where).map(group => html`
    <fieldset key=${group.name}>
      <legend>${group.title[language.value]}</legend>
      <div class="fields">${group.fields.map(field => html`<${Field} key=${field.name} field=${field} where=${where} ...${rest} />`)}</div>
    </fieldset>`);
}

// Go to the first field that something is wrong with.
export function showProblem(form) {
  requestAnimationFrame(() => form?.querySelector("[aria-invalid=true]")?.focus());
}
