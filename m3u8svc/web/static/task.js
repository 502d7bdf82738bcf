// One task: what it does, what it lacks, and what can be done about it. What the service says is asked for every second
// while the task runs and somebody looks; everything from elsewhere is shown as text.

import { ask, taskPath } from "./api.js";
import { attempt, dialog, go, language, say, warned, words } from "./state.js";
import { advice, nameOf, phase, state as stateText, trouble } from "./texts.js";
import { TASK_TEXTS } from "./texts-task.js";
import { Dialog, Icon, clock, html, size, useEffect, useRef, useState } from "./view.js";
import { curlOf, hasFile, ranges } from "./figures.js";
import { Legend, ORDER, NAMES, SegmentMap, counted } from "./segmentmap.js";
import { SpeedGraph } from "./speedgraph.js";
import { Player, playable } from "./player.js";

const TASK_MS = 1000, LIVE_MS = 1000, IDLE_MS = 5000;
const MAP_MS = 1500, LARGE_MAP_MS = 5000, LARGE_MAP = 20000;
const AGAIN_MS = 5000;
const HOLES_SHOWN = 50;
const RANK = { debug: 0, info: 1, warn: 2, error: 3 };
const RUNNING = "下载中", PAUSED = "已暂停", FAILED = "失败", WAITING = "等待中", DONE = "已完成";

export function TaskPage({ id }) {
  const text = TASK_TEXTS[language.value];
  const [again, setAgain] = useState(0);
  const task = usePolled(() => ask("GET", taskPath(id)), answer => answer && busy(answer) ? TASK_MS : IDLE_MS, [id, again]);
  const active = Boolean(task.value && busy(task.value));
  const live = usePolled(() => ask("GET", `api/tasks/live?id=${encodeURIComponent(id)}`), () => active ? LIVE_MS : IDLE_MS, [id, active]);
  const segments = usePolled(() => ask("GET", `api/tasks/segments?id=${encodeURIComponent(id)}`),
    answer => !active ? IDLE_MS : lengthOf(answer) > LARGE_MAP ? LARGE_MAP_MS : MAP_MS, [id, active, task.value?.status]);
  const [wanted, setWanted] = useState(null);
  const [shown, setShown] = useState(null);
  const [open, setOpen] = useState(false);

  useEffect(() => {
    setOpen(false);
    setWanted(null);
    setShown(null);
  }, [id]);

  if (task.error && !task.value) {
    return html`<article class="one"><${Back} text=${text} /><p class="nothing">${task.error.status === 404 ? text.gone : words(task.error)}</p></article>`;
  }
  if (!task.value) return html`<article class="one"><${Back} text=${text} /><p class="nothing">${text.loading}</p></article>`;
  const refresh = () => setAgain(count => count + 1);
  const send = body => attempt(() => ask("PUT", taskPath(id), body)).then(done => { refresh(); return done; });
  const tracks = segments.value?.tracks ?? [], groups = segments.value?.groups ?? [];
  const watch = (segment = null) => {
    if (!playable(task.value, tracks)) return;
    setOpen(true);
    if (segment !== null) setWanted({ segment, total: tracks[0]?.states.length ?? 1 });
  };
  const part = { task: task.value, text, send, refresh };
  return html`<article class="one">
    <${Back} text=${text} />
    <${Head} ...${part} open=${open} onWatch=${open || playable(task.value, tracks) ? () => open ? setOpen(false) : watch() : null} />
    ${open && html`<${Player} key=${id} task=${task.value} text=${text} wanted=${wanted} onSegment=${setShown} />`}
    <${Maps} tracks=${tracks} text=${text} marked=${open ? shown : null} onPick=${watch} />
    ${(active || live.value?.speeds?.length > 0) && html`<div class="pair">
      <${Speed} live=${live.value} text=${text} />
      <${Hosts} live=${live.value} text=${text} />
    </div>`}
    ${groups.length > 1 && html`<${Groups} ...${part} groups=${groups} onPlay=${watch} />`}
    <${Incidents} task=${task.value} text=${text} />
    ${task.value.status === DONE && !task.value.again && html`<${Completeness} ...${part} />`}
    ${(active || live.value?.log?.length > 0) && html`<${Log} live=${live.value} text=${text} />`}
    ${(task.value.status !== DONE || active) && html`<${Settings} ...${part} />`}
  </article>`;
}

const Back = ({ text }) => html`<p class="back"><a href="#/">‹ ${text.back}</a></p>`;

const busy = task => [RUNNING, WAITING].includes(task.status) || Boolean(task.again);
const lengthOf = map => (map?.tracks ?? []).reduce((sum, track) => sum + track.states.length, 0);

// Ask now and then, as often as `pause` says of the last answer, while the page is to be seen. An error keeps the value.
function usePolled(run, pause, depends) {
  const [found, setFound] = useState({ value: null, error: null });
  const latest = useRef(pause);
  latest.current = pause;
  useEffect(() => {
    let over = false, timer = 0, value = null;
    setFound(before => depends[0] === before.of ? before : { value: null, error: null });
    const look = async () => {
      clearTimeout(timer);
      if (!document.hidden) {
        try {
          value = await run();
          if (!over) setFound({ value, error: null, of: depends[0] });
        } catch (error) {
          if (!over) setFound(before => ({ ...before, error }));
        }
      }
      if (!over) timer = setTimeout(look, latest.current(value));
    };
    const seen = () => { if (!document.hidden) look(); };
    document.addEventListener("visibilitychange", seen);
    look();
    return () => { over = true; clearTimeout(timer); document.removeEventListener("visibilitychange", seen); };
  }, depends);
  return found;
}

// -- What it is and does --

function Head({ task, text, send, refresh, open, onWatch }) {
  const is = (...names) => names.includes(task.status);
  const held = is(PAUSED) && Boolean(task.held);
  const look = is(RUNNING) || task.again ? "running" : is(DONE) ? "done" : is(FAILED) ? "failed" : held ? "held" : is(PAUSED) ? "paused" : "waiting";
  const name = nameOf(task);
  const said = trouble(language.value, task), todo = advice(language.value, task);
  const doing = task.again ? text.again[task.again] : held ? text.held : stateText(language.value, task.status);
  const step = is(RUNNING) || task.again ? phase(language.value, task.phase) : "";
  const remove = () => { dialog.value = () => html`<${Removal} task=${task} text=${text} />`; };
  return html`<section class=${`card head ${look}`} aria-labelledby="task-name">
    <div class="title"><h1 id="task-name">${name}</h1><span class="state">${doing}</span></div>
    <progress max="100" value=${task.progress ?? 0} aria-label=${name}></progress>
    <p class="numbers">${figures(task, text).map(each => html`<span>${each}</span>`)}</p>
    <p class="bar">${language.value === "zh" ? task.status_bar : step}</p>
    <div class="buttons">
      ${(onWatch || !is(DONE) || task.again) && html`<button key="watch" type="button" class="main watch" aria-pressed=${open} disabled=${!onWatch} onClick=${onWatch}><${Icon} name=${open ? "close" : "play"} />${open ? text.closePlayer : text.watch}</button>`}
      ${is(DONE) && hasFile(task) && !task.again && html`<a key="download" class="button download" href=${`api/tasks/file?id=${encodeURIComponent(task.id)}&download=true`} download><${Icon} name="down" />${text.download}</a>`}
      ${(is(RUNNING, WAITING) || task.again) && html`<button key="pause" type="button" class="pause" onClick=${() => send({ status: PAUSED })}><${Icon} name="pause" />${text.pause}</button>`}
      ${is(PAUSED, FAILED) && html`<button key="resume" type="button" class="resume" onClick=${() => send({ status: WAITING })}><${Icon} name=${is(FAILED) ? "retry" : "play"} />${is(FAILED) ? text.retry : text.resume}</button>`}
      ${task.url && html`<button key="curl" type="button" class="curl" onClick=${() => copied(curlOf(task), text)}>${text.curl}</button>`}
      <button key="remove" type="button" class="remove danger" onClick=${remove}><${Icon} name="trash" />${text.remove}</button>
    </div>
    ${task.err_msg && html`<div class="notice"><p>${said}</p>${todo && html`<p class="todo">${todo}</p>`}</div>`}
    <dl class="facts">
      <dt>${text.link}</dt><dd><code>${task.url || "—"}</code></dd>
      ${task.output && html`<dt>${text.file}</dt><dd class="output"><code>${task.output}</code></dd>`}
      <dt>${text.created}</dt><dd>${moment(task.created_at)}${task.completed_at && html` · ${text.finished} ${moment(task.completed_at)}`}</dd>
    </dl>
    ${task.warnings?.length > 0 && html`<details class="warnings"><summary>${text.warnings} (${task.warnings.length})</summary><ul>${warned(task).map(each => html`<li>${each}</li>`)}</ul></details>`}
  </section>`;
}

function figures(task, text) {
  const shown = [`${task.progress ?? 0}%`];
  if (task.status === WAITING && task.queue_position) shown.push(text.queued(task.queue_position));
  if (task.status === RUNNING && task.speed > 0) shown.push(`${size(task.speed)}/s`);
  if (task.status === RUNNING && task.eta != null) shown.push(text.left(clock(task.eta)));
  if (task.segments_total) shown.push(`${task.segments_done} / ${task.segments_total} ${text.segments}`);
  if (task.size || task.bytes) shown.push(size(task.size || task.bytes));
  return shown;
}

const moment = when => new Date(when).toLocaleString(language.value === "zh" ? "zh-CN" : "en-GB", { dateStyle: "medium", timeStyle: "short" });

async function copied(what, text) {
  try {
    await navigator.clipboard.writeText(what);
    say(text.copied, "good");
  } catch {                       // plain http, or not allowed: the words themselves, to be taken by hand
    dialog.value = () => html`<${Copy} what=${what} text=${text} />`;
  }
}

function Copy({ what, text }) {
  const close = () => { dialog.value = null; };
  const area = useRef();
  useEffect(() => area.current.select(), []);
  return html`<${Dialog} title=${text.copyFailed} onClose=${close}>
    <textarea ref=${area} class="copy" readonly rows="6" aria-label=${text.curl}>${what}</textarea>
    <div class="buttons"><button type="button" onClick=${close}>${text.cancel}</button></div>
  <//>`;
}

function Removal({ task, text }) {
  const close = () => { dialog.value = null; };
  const remove = async more => {
    close();
    go("#/");                      // first, so that nothing is asked of a task that is gone
    if (!await attempt(() => ask("DELETE", `${taskPath(task.id)}${more}`))) go(`#/task/${encodeURIComponent(task.id)}`);
  };
  const made = task.status === DONE && task.output;
  return html`<${Dialog} title=${text.removeTitle(nameOf(task))} onClose=${close}>
    <p>${made ? task.output : text.removeHint}</p>
    <div class="buttons">
      <button key="cancel" type="button" onClick=${close}>${text.cancel}</button>
      <button key="remove" type="button" class="danger" onClick=${() => remove("")}>${made ? text.keepFile : text.deleteTask}</button>
      ${made && html`<button key="with-file" type="button" class="danger" onClick=${() => remove("&files=true")}>${text.withFile}</button>`}
    </div>
  <//>`;
}

// -- The map, the speed, the hosts --

function Maps({ tracks, text, marked, onPick }) {
  const there = tracks.filter(track => track.states.length);
  return html`<section class="card maps" aria-labelledby="map-title">
    <h2 id="map-title">${text.map}</h2>
    ${!there.length && html`<p class="nothing">${text.noMap}</p>`}
    ${there.map((track, number) => {
      const name = [text.kinds[track.kind] ?? track.kind, track.name].filter(Boolean).join(" · ");
      const found = counted(track.states);
      const parts = ORDER.filter(letter => found[letter]).map(letter => `${text[NAMES[letter]]} ${found[letter]}`).join(text.comma);
      return html`<div class="track" key=${number}>
        <h3>${name} <small>${text.mapSummary(track.states.length, parts)}</small></h3>
        <${SegmentMap} track=${track} label=${text.mapOf(name)} text=${text} hint=${number ? "" : text.mapHint} marked=${number ? null : marked} onPick=${number ? undefined : onPick} />
      </div>`;
    })}
    ${there.length > 0 && html`<${Legend} tracks=${there} text=${text} />`}
  </section>`;
}

const Speed = ({ live, text }) => html`<section class="card" aria-labelledby="speed-title">
  <h2 id="speed-title">${text.speed}</h2>
  <${SpeedGraph} speeds=${live?.speeds ?? []} text=${text} />
</section>`;

function Hosts({ live, text }) {
  const hosts = live?.hosts ?? [];
  return html`<section class="card hosts" aria-labelledby="hosts-title">
    <h2 id="hosts-title">${text.hosts}</h2>
    ${!hosts.length && html`<p class="nothing">${text.noHosts}</p>`}
    ${hosts.length > 0 && html`<table><thead><tr><th scope="col">${text.host}</th><th scope="col">${text.connections}</th></tr></thead><tbody>
      ${hosts.map(({ host, connections, limit, paused_for }) => html`<tr key=${host}><td><code>${host}</code></td><td>
        <meter min="0" max=${Math.max(limit, connections, 1)} value=${connections} aria-label=${host}></meter>
        <span>${text.ofLimit(connections, limit)}</span>
        ${paused_for != null && html`<span class="held"> ${text.pausedFor(Math.ceil(paused_for))}</span>`}</td></tr>`)}
    </tbody></table>`}
  </section>`;
}

// -- Groups --

function Groups({ task, text, send, groups, onPlay }) {
  const now = groups.filter(group => group.kept).map(group => group.number).join();
  const [kept, setKept] = useState(null);
  const chosen = kept ?? new Set(groups.filter(group => group.kept).map(group => group.number));
  useEffect(() => setKept(null), [now, task.id]);
  const same = [...chosen].sort((one, other) => one - other).join() === now;
  const turn = number => {
    const next = new Set(chosen);
    if (!next.delete(number)) next.add(number);
    setKept(next);
  };
  const finished = task.status === DONE;
  const apply = () => {
    const wish = chosen.size === groups.length ? "" : ranges(chosen);
    return send(finished ? { groups: wish, merge: true } : { groups: wish });
  };
  return html`<section class="card groups" aria-labelledby="groups-title">
    <h2 id="groups-title">${text.groups}</h2>
    <p class="hint">${text.groupsHint}</p>
    <div class="scroll" role="group" tabindex="0" aria-labelledby="groups-title"><table><thead><tr><th scope="col">${text.group}</th><th scope="col">${text.picture}</th><th scope="col">${text.groupSegments}</th><th scope="col">${text.groupLength}</th><th scope="col"><span class="unseen">${text.watch}</span></th></tr></thead><tbody>
      ${groups.map(({ number, first, last, duration, picture }) => html`<tr key=${number} class=${chosen.has(number) ? "" : "dropped"}>
        <td><label><input type="checkbox" checked=${chosen.has(number)} aria-label=${text.keep(number)} onChange=${() => turn(number)} />${number}</label></td>
        <td class="picture"><${Picture} key=${`${task.id} ${first} ${last}`} task=${task} segment=${picture} first=${first} last=${last} label=${text.pictureOf(number)} /></td>
        <td>${first === last ? first : `${first}–${last}`}</td><td>${clock(duration)}</td>
        <td><button type="button" class="plain" aria-label=${text.playGroup(number)} title=${text.playGroup(number)} onClick=${() => onPlay(first - 1)}><${Icon} name="play" /></button></td></tr>`)}
    </tbody></table></div>
    <div class="buttons"><button type="button" class="apply" disabled=${same || !chosen.size || Boolean(task.again)} onClick=${apply}>${finished ? text.mergeAgain : text.applyGroups}</button>
      <span class="hint">${same ? text.unchanged : text.kept(chosen.size)}</span></div>
  </section>`;
}

// What a group looks like. What was seen once stays, whatever becomes of the segment; only the one in the middle, which
// says most, takes the place of another. What cannot be had is left out for a while, longer each time.
function Picture({ task, segment, first, last, label }) {
  const middle = Math.floor((first + last) / 2);
  const best = useRef(null), drawn = useRef(null), pause = useRef(AGAIN_MS);
  const [failed, setFailed] = useState([]);
  useEffect(() => {
    if (!failed.length) return;
    const timer = setTimeout(() => { pause.current *= 2; setFailed([]); }, pause.current);
    return () => clearTimeout(timer);
  }, [failed]);
  if (segment === middle || !best.current) best.current = segment;
  const shown = [best.current, drawn.current, ...segment ? [segment, first, last] : []].find(each => each && !failed.includes(each));
  if (!shown) return html`<span class="frame"></span>`;
  return html`<img class="frame" loading="lazy" decoding="async" width="96" height="54" alt=${label}
    onLoad=${() => { drawn.current = shown; }} onError=${() => setFailed(before => [...before, shown])}
    src=${`api/tasks/picture?id=${encodeURIComponent(task.id)}&segment=${shown}`} />`;
}

// -- What went wrong, and the log --

function Incidents({ task, text }) {
  const incidents = [...(task.incidents ?? [])].reverse();
  const end = language.value === "zh" ? "" : "_en";
  return html`<section class="card incidents" aria-labelledby="incidents-title">
    <h2 id="incidents-title">${text.incidents}</h2>
    ${!incidents.length && html`<p class="nothing">${text.noIncidents}</p>`}
    ${incidents.length > 0 && html`<div class="scroll" role="group" tabindex="0" aria-labelledby="incidents-title"><ol>${incidents.map(each => html`<li key=${each.at + each.code + each.segment}>
      <p class="what">${each[`text${end}`] || each.text}${each.count > 1 && html` <b>${text.times(each.count)}</b>`}</p>
      ${each[`advice${end}`] && html`<p class="todo">${each[`advice${end}`]}</p>`}
      <p class="when"><time datetime=${each.at}>${moment(each.at)}</time>
        ${[each.segment && text.atSegment(each.segment), each.attempt > 1 && text.attempt(each.attempt), each.url].filter(Boolean).map(more => html` · <span>${more}</span>`)} · <code>${each.code}</code></p>
    </li>`)}</ol></div>`}
  </section>`;
}

function Log({ live, text }) {
  const [level, setLevel] = useState("info");
  const list = useRef();
  const lines = (live?.log ?? []).filter(line => RANK[line.level] >= RANK[level]);
  const last = lines.at(-1)?.at;
  const follows = useRef(true);
  useEffect(() => { if (follows.current && list.current) list.current.scrollTop = list.current.scrollHeight; }, [last, level]);
  const two = number => String(number).padStart(2, "0");
  const time = at => { const when = new Date(at * 1000); return [when.getHours(), when.getMinutes(), when.getSeconds()].map(two).join(":"); };
  return html`<section class="card log" aria-labelledby="log-title">
    <div class="with"><h2 id="log-title">${text.log}</h2>
      <label>${text.level} <select value=${level} onChange=${event => setLevel(event.currentTarget.value)}>
        ${["debug", "info", "warn", "error"].map(each => html`<option key=${each} value=${each} selected=${each === level}>${text.levels[each]}</option>`)}</select></label></div>
    ${!lines.length && html`<p class="nothing">${text.noLog}</p>`}
    ${lines.length > 0 && html`<div class="lines" ref=${list} role="log" tabindex="0" aria-labelledby="log-title"
        onScroll=${event => { const { scrollTop, scrollHeight, clientHeight } = event.currentTarget; follows.current = scrollHeight - scrollTop - clientHeight < 24; }}><ol>
      ${lines.map((line, number) => html`<li key=${number} class=${`level-${line.level}`}><time>${time(line.at)}</time> <b>${text.levelNames[line.level]}</b> <span>${language.value === "en" && line.text_en || line.text}</span></li>`)}</ol></div>`}
  </section>`;
}

// -- How complete it is --

function Completeness({ task, text, send }) {
  const [report, setReport] = useState(null);
  const [looked, setLooked] = useState("");
  const [checking, setChecking] = useState(false);
  useEffect(() => { setReport(null); setLooked(""); }, [task.id, task.updated_at]);
  const read = () => attempt(async () => setReport(await ask("GET", `${taskPath(task.id)}&report=true`)));
  const verify = async () => {
    setChecking(true);
    await attempt(async () => {
      const { ok, problems } = await ask("GET", `${taskPath(task.id)}&verify=true`);
      setLooked(ok ? text.verified : `${text.problems(problems.length)}: ${problems.map(each => each.code).join(", ")}`);
    });
    setChecking(false);
  };
  return html`<section class="card report" aria-labelledby="report-title">
    <h2 id="report-title">${text.report}</h2>
    <div class="buttons">
      ${!report && html`<button key="read" type="button" class="read" onClick=${read}>${text.readReport}</button>`}
      ${report && !report.summary.complete && html`<button key="repair" type="button" class="main repair" onClick=${() => send({ repair: true })}>${text.repair}</button>`}
      ${task.output && html`<button key="verify" type="button" class="verify" disabled=${checking} onClick=${verify}>${checking ? text.verifying : text.verify}</button>`}
      ${looked && html`<span class="hint" role="status">${looked}</span>`}
    </div>
    ${report && html`<${Report} report=${report} text=${text} />`}
  </section>`;
}

function Report({ report, text }) {
  const { summary, result } = report, rows = text.reportRows;
  const holes = report.segments.filter(each => each.outcome !== "done");
  const seconds = value => text.seconds(value.toFixed(1));
  const shown = [
    [rows.length, text.ofTime(clock(result.duration_s ?? 0), clock(result.asked_s ?? 0))],
    [rows.size, size(result.size ?? 0)],
    [rows.segments, text.ofSegments(summary.done, summary.segments_total)],
    [rows.missing, `${summary.missing} · ${seconds(summary.missing_s)}`],
    [rows.skipped, `${summary.skipped} · ${seconds(summary.skipped_s)}`],
    [rows.gaps, summary.declared_gaps],
    [rows.drift, report.av_drift_s === null ? "—" : text.seconds(report.av_drift_s.toFixed(3))],
    [rows.damaged, report.continuity_errors.length],
  ];
  return html`<p class=${summary.complete ? "verdict whole" : "verdict holes"}>${summary.complete ? text.complete : text.incomplete}</p>
    <dl class="facts">${shown.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
    ${holes.length > 0 && html`<h3>${text.holes}</h3><div class="scroll" role="group" tabindex="0" aria-label=${text.holes}><table><thead><tr><th scope="col">${text.groupSegments}</th><th scope="col">${text.from}</th><th scope="col">${text.why}</th></tr></thead><tbody>
      ${holes.slice(0, HOLES_SHOWN).map(each => html`<tr><td>${text.hole(each.position, each.track === "main" ? "" : each.track)}</td><td>${clock(each.start_s)}</td><td>${(language.value === "en" && each.reason_en) || each.reason}</td></tr>`)}
    </tbody></table></div>${holes.length > HOLES_SHOWN && html`<p class="hint">${text.moreHoles(holes.length - HOLES_SHOWN)}</p>`}`}`;
}

// -- What can be changed --

function Settings({ task, text, send }) {
  const open = [WAITING, PAUSED, FAILED].includes(task.status);
  return html`<section class="card settings" aria-labelledby="settings-title">
    <h2 id="settings-title">${text.settings}</h2>
    <div class="fields">
      <${Field} name="priority" label=${text.priority} value=${task.priority ?? 0} text=${text} inputmode="numeric"
        read=${typed => /^[+-]?\d{1,3}$/.test(typed) && Math.abs(typed) <= 100 ? Number(typed) : null} wrong=${text.notANumber}
        store=${value => send({ priority: value })} />
      <${Field} name="limit" label=${text.limitRate} value=${Math.round((task.limit_rate ?? 0) / 1024)} text=${text} inputmode="numeric"
        read=${typed => /^\d{1,9}$/.test(typed) ? Number(typed) * 1024 : null} wrong=${text.notARate}
        store=${value => send({ limit_rate: value })} />
    </div>
    ${open ? html`<${Field} name="url" label=${text.newUrl} value="" text=${text} button=${text.useUrl} hint=${text.newUrlHint}
        read=${typed => /^https?:\/\/./i.test(typed) ? typed : null} wrong=${text.notAUrl} store=${value => send({ url: value })} />`
      : task.status === RUNNING && html`<p class="hint">${text.newUrlStopped}</p>`}
  </section>`;
}

// One value with its button. What was typed stays until it is stored; what is wrong with it is said beside it.
function Field({ name, label, value, text, read, wrong, store, hint, button, ...more }) {
  const [typed, setTyped] = useState(null);
  const [said, setSaid] = useState({ text: "", bad: false });
  const submit = async event => {
    event.preventDefault();
    const found = read((typed ?? String(value)).trim());
    if (found === null) { setSaid({ text: wrong, bad: true }); return; }
    if (await store(found)) { setTyped(null); setSaid({ text: text.stored, bad: false }); } else setSaid({ text: "", bad: false });
  };
  return html`<form class=${`field ${name}`} novalidate onSubmit=${submit} autocomplete="off">
    <label>${label}<input name=${name} value=${typed ?? value} aria-invalid=${said.bad} aria-describedby=${`${name}-said`} maxlength="8192" ...${more}
      onInput=${event => { setTyped(event.currentTarget.value); setSaid({ text: "", bad: false }); }} /></label>
    <button type="submit">${button ?? text.set}</button>
    <p id=${`${name}-said`} class=${said.bad ? "error" : "hint"} role="status">${said.text || hint || ""}</p>
  </form>`;
}
