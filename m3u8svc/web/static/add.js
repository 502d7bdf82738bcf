// Adding tasks: links as `url name` lines, a curl command, the text or the file of a playlist; and what a task would
// do, before it does it.

import { ask, call, taskPath } from "./api.js";
import { Icon, IconButton, clock, html, signal, size, useEffect, useRef } from "./view.js";
import { inLine, language, say, text, warned, words as wordsOf } from "./state.js";
import { Fields, bodyOf, showProblem, typed } from "./fields.js";
import { refresh } from "./tasks.js";
import { nameFrom } from "./texts.js";

const REPLAN_MS = 400;
const LARGEST = 8 * 2 ** 20;

const EMPTY = { links: "", filename: "", files: [], values: {} };
const draft = signal(EMPTY);          // outlives the form: what was typed stays when somebody looks elsewhere
const problems = signal({});
const plan = signal(null);
const busy = signal("");
const open = signal(false);           // the options
const over = signal(false);           // something is dragged over the page
const known = signal(null);           // { defaults, offers } of the service

const change = part => { draft.value = { ...draft.peek(), ...part }; };
const setValue = (name, value) => {
  change({ values: { ...draft.peek().values, [name]: value } });
  if (problems.peek()[name]) problems.value = { ...problems.peek(), [name]: undefined };
};

const isCurl = links => /^\s*curl(\.exe)?\s/.test(links);
const isPlaylist = links => /^\s*#EXTM3U/.test(links);

// [{ url, filename }] of the lines; a name is what stands behind the link. No name has a slash in it or is a playlist's:
// such a thing is the rest of a link with a space.
const isRest = name => /[\\/]|\.m3u8?([?#]|$)/i.test(name);
export function linesOf(links) {
  return links.split("\n").map(line => line.trim()).filter(line => line && !line.startsWith("#")).map(line => {
    const [, url, filename] = /^(\S+)\s*(.*)$/.exec(line);
    return isRest(filename) ? { line, url: line, filename: "" } : { line, url, filename };
  });
}

// What is to be asked for: one body a task, without the options.
function wanted() {
  const { links, filename, files } = draft.peek();
  const found = files.map(file => ({ url: "", playlist: file.text, filename: file.name, file }));
  if (isPlaylist(links)) found.push({ url: "", playlist: links, filename: "" });
  else found.push(...linesOf(links));
  if (found.length === 1 && filename.trim()) found[0].filename = filename.trim();
  return found;
}

async function load() {
  const [defaults, offers] = await Promise.all([ask("GET", "api/settings"), ask("GET", "api/plugins")].map(each => each.catch(() => ({}))));
  known.value = { defaults, offers };
}

// The options that were typed; null and the problems shown where they make no sense.
function options() {
  const { body, problems: wrong } = bodyOf("a", draft.peek().values, text.peek());
  problems.value = wrong;
  if (!Object.keys(wrong).length) return body;
  open.value = true;
  return null;
}

// What the service would not take stands beside the fields it is about; what is about no field, beside the link.
function blame(error, line = "") {
  const wrong = error.fields?.(language.peek()) ?? {};
  const { "": rest, ...named } = wrong;
  const other = rest ?? (Object.keys(named).length ? "" : wordsOf(error));
  if (other) named.url = [named.url, other].filter(Boolean).join("; ");
  if (line && named.url) named.url = `${line}: ${named.url}`;
  if (Object.keys(named).some(name => !["url", "filename"].includes(name))) open.value = true;
  problems.value = named;
}

let told = { filename: "", values: {} };      // by the last curl command: the next one does not inherit it
// A curl command in place of the links becomes what it says. Whether there is (now) none.
async function uncurl() {
  const command = draft.peek().links;
  if (!isCurl(command)) return true;
  const changed = () => draft.peek().links !== command;
  try {
    const { url, filename, warnings, warnings_en, use_http_headers: _used, advanced: _advanced, ...rest } = await ask("POST", "api/curl", { command });
    if (changed()) return !isCurl(draft.peek().links);
    const before = draft.peek(), values = { ...before.values };
    for (const [name, value] of Object.entries(told.values)) if (values[name] === value) delete values[name];
    const found = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, typed(kindOf(name, value), value)]));
    change({ links: url, filename: filename || (before.filename === told.filename ? "" : before.filename), values: { ...values, ...found } });
    told = { filename, values: found };
    problems.value = {};
    open.value = true;
    say([text.peek().fromCurl, ...warned({ warnings, warnings_en })].join(" · "), warnings?.length ? "mild" : "good");
    return true;
  } catch (error) {
    if (!changed()) blame(error);
    return false;
  }
}
const kindOf = (name, value) => name === "http_headers" ? "headers" : typeof value === "boolean" ? "bool" : name === "limit_rate" ? "rate" : "text";

// -- Adding --

const KEPT = 100;
let unanswered = [];      // creations that made no task as far as we know, the last first: { body, sent, key }

// The bodies, each with a key: the one it had when it was sent before, so that a lost answer makes no second task. What
// else was sent keeps its key, for who sends something else in between.
function keyed(bodies) {
  const before = [...unanswered];
  const creations = bodies.map(body => {
    const sent = JSON.stringify(body), at = before.findIndex(each => each.sent === sent);
    return at < 0 ? { body, sent, key: newKey() } : before.splice(at, 1)[0];
  });
  unanswered = [...creations, ...before.slice(0, KEPT)];
  return creations;
}

// Not randomUUID, which a page without HTTPS lacks.
const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, "0")).join("");

async function create(creation) {
  const { value, headers } = await call("POST", "api/tasks", creation.body, { "Idempotency-Key": creation.key });
  const gone = headers.get("Idempotent-Replayed") && await ask("GET", taskPath(value.id)).then(() => false, error => error.status === 404);
  if (gone) {           // it was made, and removed by somebody since: this is about another one
    creation.key = newKey();
    return create(creation);
  }
  unanswered = unanswered.filter(each => each !== creation);
  return value;
}

async function add(form) {
  if (busy.peek() === "add") return;
  forgetPlans();
  busy.value = "add";
  problems.value = {};
  const more = await uncurl() ? options() : null;
  const list = more ? wanted() : [];
  if (more && !list.length) problems.value = { url: text.peek().noLink };
  const warnings = [], failed = [];
  let last = null, done = 0;
  const creations = list.length ? keyed(list.map(({ line: _line, file: _file, ...body }) => ({ ...more, ...body }))) : [];
  for (const [place, each] of list.entries()) {
    try {
      const answer = await create(creations[place]);
      warnings.push(...warned(answer));
      done += 1;
    } catch (error) {
      failed.push(each);
      last = { error, each };
    }
  }
  if (done) {
    const { values } = draft.peek();
    forgetPlans();
    if (!failed.length) { draft.value = EMPTY; open.value = false; plan.value = null; }
    else change({ links: failed.map(each => each.line).filter(Boolean).join("\n") || (failed.some(each => each.playlist && !each.file) ? draft.peek().links : ""),
      files: failed.map(each => each.file).filter(Boolean), values });
    say(inLine([done > 1 ? text.peek().added(done) : "", ...new Set(warnings)].filter(Boolean)), warnings.length ? "mild" : "good");
    refresh();
  }
  if (last) blame(last.error, list.length > 1 ? last.each.line ?? last.each.filename : "");
  busy.value = "";
  if (Object.keys(problems.peek()).length) showProblem(form); else if (more) form.querySelector("#url").focus();
}

let asked = 0;
async function makePlan(form) {
  if (busy.peek() === "add") return;
  const mine = asked += 1;
  busy.value = "plan";
  problems.value = {};
  const clear = await uncurl();
  if (mine !== asked) return;
  const more = clear ? options() : null;
  const [first] = more ? wanted() : [];
  if (more && !first) problems.value = { url: text.peek().noLink };
  if (first) {
    const { line: _line, file: _file, ...body } = first;
    try {
      const answer = await ask("POST", "api/tasks?dry_run=true", { ...more, ...body });
      if (mine === asked) plan.value = answer;
    } catch (error) {
      if (mine === asked) { blame(error); plan.value = null; }
    }
  }
  if (mine !== asked) return;
  busy.value = "";
  if (Object.keys(problems.peek()).length) showProblem(form);
}

let replanning = 0;
// A plan that is due or under way is of what was in the form before.
function forgetPlans() {
  clearTimeout(replanning);
  asked += 1;
}

// Take a choice out of the plan, show it at once, and ask what comes of it.
function choose(name, value, part) {
  if (part) plan.value = { ...plan.peek(), ...part };
  setValue(name, value);
  forgetPlans();
  replanning = setTimeout(makePlan, REPLAN_MS);
}

async function takeFiles(files) {
  const taken = [];
  for (const file of files) {
    if (file.size > LARGEST) { problems.value = { url: text.peek().fileTooLarge(file.name) }; continue; }
    const content = await file.text();
    if (!isPlaylist(content.replace(/^\ufeff/, ""))) { problems.value = { url: text.peek().notPlaylist(file.name) }; continue; }
    taken.push({ name: file.name.replace(/\.m3u8?$/i, ""), text: content });
  }
  if (taken.length) { change({ files: [...draft.peek().files, ...taken] }); plan.value = null; }
}

function takeText(dropped) {
  const { links } = draft.peek();
  change({ links: links.trim() ? `${links.trimEnd()}\n${dropped}` : dropped });
  plan.value = null;
}

// A bookmarklet or a userscript opened us with a link; who adds it is the user. Only a link is taken: whoever made us open
// is not trusted with a curl command, whose options would come along.
function takeAsked(form) {
  const [link] = /^https?:\/\/\S+/i.exec(new URLSearchParams(location.search).get("add") ?? "") ?? [];
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
  if (!link) return;
  change({ links: link });
  form.scrollIntoView({ block: "nearest" });   // no focus: whoever made us open may have had Enter held down
}

const accepts = event => [...event.dataTransfer.types].some(type => ["Files", "text/uri-list", "text/plain"].includes(type)) && !event.dataTransfer.types.includes("application/x-task");

function onDrop(event) {
  if (!accepts(event) || event.target.closest?.("input, textarea:not(#url)")) return;
  event.preventDefault();
  over.value = false;
  if (event.dataTransfer.files.length) { takeFiles([...event.dataTransfer.files]); return; }
  const uris = event.dataTransfer.getData("text/uri-list").split(/\r?\n/).filter(each => each && !each.startsWith("#")).join("\n");
  const dropped = uris || event.dataTransfer.getData("text/plain").trim();
  if (dropped) { takeText(dropped); uncurl(); }
}

export function AddForm() {
  const form = useRef(), file = useRef();
  const words = text.value, { links, filename, files, values } = draft.value, wrong = problems.value;
  useEffect(() => {
    if (!known.peek()) load();
    takeAsked(form.current);
    const dragged = event => { if (accepts(event)) { event.preventDefault(); over.value = true; } };
    const left = event => { if (!event.relatedTarget) over.value = false; };
    addEventListener("dragover", dragged);
    addEventListener("dragleave", left);
    addEventListener("drop", onDrop);
    return () => { removeEventListener("dragover", dragged); removeEventListener("dragleave", left); removeEventListener("drop", onDrop); };
  }, []);
  const lines = isPlaylist(links) || isCurl(links) ? [] : linesOf(links);
  const many = lines.length + files.length > 1;
  const suggested = !many && !filename && lines.length === 1 && !lines[0].filename ? nameFrom(lines[0].url) : "";
  const pressed = event => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();             // Enter adds, as in a field of one line; Shift+Enter begins another line
    if (!event.repeat) add(form.current);
  };
  const hint = isCurl(links) ? words.isCurl : isPlaylist(links) ? words.isPlaylist : many ? words.many(lines.length + files.length) : "";
  return html`
    <form id="add" class="card ${over.value ? "over" : ""}" autocomplete="off" novalidate ref=${form} onSubmit=${event => { event.preventDefault(); add(form.current); }}>
      <div class="field wide">
        <label for="url">${words.links}</label>
        <textarea id="url" name="url" rows="1" spellcheck="false" placeholder="https://…/index.m3u8" value=${links} aria-invalid=${wrong.url ? "true" : undefined}
          aria-describedby="url-says" onKeyDown=${pressed} onInput=${event => { change({ links: event.target.value }); plan.value = null; }}
          onPaste=${() => setTimeout(uncurl)} />
      </div>
      <div class="field">
        <label for="filename">${words.filename}</label>
        <input id="filename" name="filename" maxlength="200" value=${filename} disabled=${many} placeholder=${suggested} aria-invalid=${wrong.filename ? "true" : undefined}
          aria-describedby="filename-says" onInput=${event => { change({ filename: event.target.value }); problems.value = { ...wrong, filename: undefined }; }} />
      </div>
      <div class="actions">
        <button type="button" id="plan" disabled=${busy.value !== ""} onClick=${() => makePlan(form.current)}><${Icon} name="plan" />${words.plan}</button>
        <button type="submit" class="main" disabled=${busy.value === "add"}>${words.add}</button>
      </div>
      <div class="says" aria-live="polite">
        <p id="url-says" class=${wrong.url ? "problem" : "hint"}>${wrong.url || hint}</p>
        <p id="filename-says" class="problem">${wrong.filename ?? ""}</p>
        ${files.map((each, place) => html`<span class="chip" key=${place}>${each.name}.m3u8<${IconButton} icon="close" label=${words.forget(each.name)} onClick=${() => change({ files: files.filter((_, other) => other !== place) })} /></span>`)}
        ${suggested && html`<button type="button" class="link-button" onClick=${() => change({ filename: suggested })}>${words.suggested(suggested)}</button>`}
      </div>
      <div class="below">
        <button type="button" class="plain" id="options" aria-expanded=${open.value ? "true" : "false"} onClick=${() => { open.value = !open.value; }}>
          <span class="turn ${open.value ? "on" : ""}"><${Icon} name="more" /></span>${words.options}</button>
        <button type="button" class="plain" onClick=${() => file.current.click()}>${words.openFile}</button>
        <input type="file" class="unseen" tabindex="-1" aria-label=${words.openFile} accept=".m3u8,.m3u" multiple ref=${file} onChange=${event => { takeFiles([...event.target.files]); event.target.value = ""; }} />
        <span class="hint">${words.dropHere}</span>
      </div>
      ${busy.value === "plan" && !plan.value && html`<p class="hint" role="status">${words.planning}</p>`}
      ${plan.value && html`<${Plan} plan=${plan.value} values=${values} />`}
      ${open.value && html`<div class="options"><${Fields} where="a" values=${values} problems=${wrong} defaults=${known.value?.defaults} offers=${known.value?.offers} change=${setValue} /></div>`}
    </form>`;
}

// -- What a task would do --

const bits = bandwidth => bandwidth >= 1e6 ? `${(bandwidth / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bandwidth / 1e3)} kbit/s`;

// The words of `variant` that mean this variant and no other, if anything does.
export const variantOf = variant => [variant.audio_only ? "audio_only" : "", variant.height ? `height=${variant.height}` : "",
  variant.bandwidth ? `bandwidth=${variant.bandwidth}` : ""].filter(Boolean).join(" ");

// 1, 2, 3, 5 as "1-3,5".
export function rangesOf(numbers) {
  const ranges = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last && last[1] === number - 1) last[1] = number; else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => first === last ? String(first) : `${first}-${last}`).join(",");
}

// What to call a rendition in `audio` and `subtitles`: its language where that is enough, else its name.
const itemOf = (each, all) => each.language && all.filter(other => other.language === each.language).length === 1 ? each.language : each.name;

function Plan({ plan: found, values }) {
  const words = text.value;
  const of = type => {
    const seen = new Map();
    for (const each of found.renditions.filter(each => each.type === type)) {
      const key = `${each.language} ${each.name}`;
      if (!seen.has(key) || each.chosen) seen.set(key, each);
    }
    return [...seen.values()];
  };
  const facts = [
    [words.duration, clock(found.duration)], [words.estimated, found.estimated_bytes === null ? words.unknown : `≈ ${size(found.estimated_bytes)}`],
    [words.segmentsOf, String(found.segments.count) + (found.segments.skipped ? ` (−${found.segments.skipped})` : "")],
    [words.encryption, found.encryption.methods.join(", ") || words.none],
  ];
  const renditions = (type, name, none) => {
    const all = of(type);
    const chosen = all.filter(each => each.chosen).map(each => itemOf(each, all));
    const toggle = (item, on) => choose(name, all.map(each => itemOf(each, all)).filter(each => each === item ? on : chosen.includes(each)).join(",") || none,
      { renditions: found.renditions.map(each => each.type === type && itemOf(each, all) === item ? { ...each, chosen: on } : each) });
    return all.length > 0 && html`
      <fieldset><legend>${type === "AUDIO" ? words.sound : words.subtitles}</legend>
        ${all.map(each => html`<label class="check" key=${each.name + each.language}><input type="checkbox" checked=${each.chosen} onChange=${event => toggle(itemOf(each, all), event.target.checked)} />${each.name}${each.language ? ` (${each.language})` : ""}</label>`)}
      </fieldset>`;
  };
  const kept = values.groups ? numbersOf(values.groups) : found.groups.map(group => group.number);
  const toggleGroup = (number, on) => {
    const next = found.groups.map(group => group.number).filter(each => each === number ? on : kept.includes(each));
    choose("groups", next.length === found.groups.length ? "" : rangesOf(next));
  };
  return html`
    <section class="plan" aria-label=${words.plan}>
      <dl>${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
      ${found.warnings.length > 0 && html`<p class="advice">${warned(found).join("\n")}</p>`}
      <div class="choices">
        ${found.variants.length > 0 && html`
          <fieldset><legend>${words.variants}</legend>
            ${found.variants.map(each => html`
              <label class="check" key=${variantOf(each) + each.codecs}><input type="radio" name="plan-variant" checked=${each.chosen} onChange=${() => choose("variant", variantOf(each), { variants: found.variants.map(other => ({ ...other, chosen: other === each })) })} />
                ${[each.height ? `${each.width}×${each.height}` : each.audio_only ? words.sound : "", each.bandwidth ? bits(each.bandwidth) : "", each.fps ? `${each.fps} fps` : "", each.codecs.join(" ")].filter(Boolean).join(" · ")}</label>`)}
          </fieldset>`}
        ${renditions("AUDIO", "audio", "")}
        ${renditions("SUBTITLES", "subtitles", "none")}
        ${found.groups.length > 1 && html`
          <fieldset><legend>${words.groups}</legend>
            ${found.groups.map(group => html`
              <label class="check" key=${group.number}><input type="checkbox" checked=${kept.includes(group.number)} onChange=${event => toggleGroup(group.number, event.target.checked)} />
                ${group.number} · ${clock(group.start)} +${clock(group.duration)}</label>`)}
          </fieldset>`}
      </div>
    </section>`;
}

function numbersOf(ranges) {
  return ranges.split(",").flatMap(each => {
    const [first, last = first] = each.split("-").map(Number);
    return Array.from({ length: Math.max(0, Math.min(last - first + 1, 100000)) || 0 }, (_, step) => first + step);
  });
}
