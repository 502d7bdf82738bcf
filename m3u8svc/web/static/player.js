// Watching a task: the part that is there while it downloads (hls.js over Media Source Extensions, loaded when somebody
// presses play and not before), the finished file by the browser itself, with Range requests.

import { hasFile } from "./figures.js";
import { html, useEffect, useRef, useState } from "./view.js";

const HLS = "./vendor/hls.js";
const MENDS = 2;            // how often broken media is tried again
const RELOADS = 20;         // how often the playlist is loaded again because a segment of it will not come
const PLAYED_AS_FILE = /\.(mp4|m4v|m4a|mov|webm)$/i;

// The service answers for up to half a minute while it fetches what is not there yet, and says 503 if it could not.
const PATIENT = { default: { maxTimeToFirstByteMs: 45000, maxLoadTimeMs: 180000,
  timeoutRetry: { maxNumRetry: 8, retryDelayMs: 500, maxRetryDelayMs: 5000 },
  errorRetry: { maxNumRetry: 60, retryDelayMs: 1000, maxRetryDelayMs: 5000 } } };
const SETTINGS = { enableWorker: false, lowLatencyMode: false, startPosition: 0, maxBufferLength: 20, maxMaxBufferLength: 40,
  backBufferLength: 60, fragLoadPolicy: PATIENT, playlistLoadPolicy: PATIENT, manifestLoadPolicy: PATIENT };

// Whether the finished file is played, or the segments.
export const playsFile = task => task.status === "已完成" && hasFile(task) && PLAYED_AS_FILE.test(task.output);

// Which segment a fragment is, from 0: its link says it, whatever was left out before it.
export function segmentOf(fragment) {
  const number = Number(new URL(fragment.url, document.baseURI).searchParams.get("segment"));
  return number ? number - 1 : fragment.sn;
}

// Whether there is anything to play: segments are there while the task runs, and afterwards where they were kept.
export function playable(task, tracks) {
  if (playsFile(task)) return true;
  const { keep_ts_files, no_merge_ts } = task.advanced_settings ?? {};
  const kept = task.status === "已完成" && !task.again && (keep_ts_files || no_merge_ts);
  return Boolean(tracks[0]?.states.length && (task.status === "下载中" || kept));
}

// `wanted` is where to go: { segment, total, at }, a new object for each wish. `onSegment` is told which one is shown.
export function Player({ task, text, wanted, onSegment }) {
  const video = useRef(null);
  const playing = useRef(null);
  const [said, say] = useState(text.loadPlayer);
  const [trouble, setTrouble] = useState(null);         // { what, gone }: whether it is that a segment will not come
  const [round, setRound] = useState(0);
  const asFile = playsFile(task), runs = task.status === "下载中";
  const reloads = useRef(0);
  const due = useRef(null);                             // where to go, until there is something that can
  const seek = () => {
    if (!playing.current || !due.current) return;
    playing.current.seek(due.current);
    due.current = null;
  };

  useEffect(() => {
    const kept = playing.current?.where() ?? null;      // the file takes the segments' place where they were
    playing.current = null;
    let over = false;
    const tell = { say: what => !over && say(what), segment: onSegment, text,
      fail: (what, gone = false) => !over && setTrouble({ what, gone }),
      reload() {
        if (over || reloads.current === RELOADS) return false;
        reloads.current += 1;
        setRound(count => count + 1);
        return true;
      } };
    setTrouble(null);
    const opened = asFile ? playFile(video.current, task, kept, tell) : playSegments(video.current, task, kept, tell);
    opened.then(source => { if (!over) { playing.current = source; seek(); } },
      error => tell.fail(text.playFailed(error.message)));
    return () => { over = true; opened.then(source => source.close(), () => {}); };
  }, [task.id, asFile, round]);
  useEffect(() => { if (runs && trouble && !asFile) setRound(count => count + 1); }, [runs]);   // it was paused, and goes on
  useEffect(() => { due.current = wanted; seek(); }, [wanted]);

  const why = trouble?.gone && !runs ? (task.status === "已完成" ? text.segmentsGone : text.needsRunning) : trouble?.what;
  return html`<section class="player" aria-label=${text.player}>
    <video ref=${video} controls playsinline preload="metadata"></video>
    <p class=${`saying ${trouble ? "error" : ""}`} role="status">${why || said}</p>
  </section>`;
}

// -- The finished file --

async function playFile(video, task, kept, { say, fail, segment, text }) {
  const off = new AbortController();
  const on = (name, run) => video.addEventListener(name, run, { signal: off.signal });
  const total = () => task.segments_total || 1;
  let wish = null;
  const seek = ({ segment: number, total: all }) => {
    if (video.duration) video.currentTime = (number / all) * video.duration; else wish = { segment: number, total: all };
  };
  on("loadedmetadata", () => {
    if (wish) seek(wish); else if (kept) video.currentTime = Math.min(kept.time, video.duration);
  });
  on("error", () => fail(text.cannotPlay));
  on("playing", () => say(text.asFile));
  on("waiting", () => say(text.buffering));
  on("timeupdate", () => segment(video.duration ? Math.floor((video.currentTime / video.duration) * total()) : null));
  video.src = `api/tasks/file?id=${encodeURIComponent(task.id)}`;
  say(text.asFile);
  if (!kept || kept.running) video.play().catch(() => {});   // a browser may want another click
  return {
    where: () => null,
    seek,
    close() { off.abort(); video.removeAttribute("src"); video.load(); segment(null); },
  };
}

// -- The segments, while they come --

async function playSegments(video, task, kept, { say, fail, reload, segment, text }) {
  const list = `api/tasks/play?id=${encodeURIComponent(task.id)}`;
  const { default: Hls } = await import(HLS);
  if (!Hls.isSupported()) {
    if (!video.canPlayType("application/vnd.apple.mpegurl")) throw new Error(text.cannotPlay);
    video.src = list;                                          // an iPhone plays HLS and has no Media Source
    say(text.partly);
    video.play().catch(() => {});
    return { where: () => null, seek() {}, close() { video.removeAttribute("src"); video.load(); } };
  }
  const off = new AbortController();
  const on = (name, run) => video.addEventListener(name, run, { signal: off.signal });
  const hls = new Hls({ ...SETTINGS, startPosition: kept?.time ?? 0 });
  const fragments = () => hls.levels[Math.max(0, hls.currentLevel)]?.details?.fragments ?? [];
  const at = time => fragments().find(each => time < each.start + each.duration);
  let mends = 0, wish = null, back = kept?.segment >= 0 ? kept : null;
  const from = number => fragments().find(each => segmentOf(each) >= number);
  const seek = ({ segment: number }) => {
    if (!fragments().length) { wish = { segment: number }; return; }
    const to = from(number);
    if (to) video.currentTime = to.start + Math.min(0.05, to.duration / 2);
  };
  // A list that was loaded again may lack what lies before: the same segment is elsewhere in it.
  const goBack = ({ segment: number, into, time }) => {
    const to = from(number), now = to && to.start + (segmentOf(to) === number ? into : 0);
    if (to && Math.abs(now - time) > 0.5 && !off.signal.aborted) hls.startLoad(now);
  };
  on("timeupdate", () => { const here = at(video.currentTime); segment(here ? segmentOf(here) : null); });
  on("playing", () => say(text.partly));
  on("waiting", () => {
    const here = at(video.currentTime + 0.1);
    say(here ? text.waitingFor(segmentOf(here) + 1) : text.buffering);
  });
  hls.on(Hls.Events.LEVEL_LOADED, () => {
    const due = wish, kept = back;
    wish = back = null;
    if (due) setTimeout(() => seek(due)); else if (kept) setTimeout(() => goBack(kept));
  });
  hls.on(Hls.Events.ERROR, (_event, { fatal, type, details, response, reason, error, frag }) => {
    const gone = [404, 409].includes(response?.code);
    if (frag && response?.code === 404 && reload()) return;    // it will not come any more, and a new list is without it
    if (!fatal && !(gone && video.readyState < video.HAVE_FUTURE_DATA)) return;    // hls.js goes on asking, in vain
    if (type === Hls.ErrorTypes.MEDIA_ERROR && mends < MENDS) { mends += 1; hls.recoverMediaError(); return; }
    const why = response?.code ? `HTTP ${response.code}` : reason ?? error?.message ?? details;
    fail(details === Hls.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR ? text.cannotPlay : text.playFailed(why), gone);
  });
  hls.loadSource(list);
  hls.attachMedia(video);
  say(text.partly);
  if (!kept || kept.running) video.play().catch(() => {});
  return {
    where() {
      if (!video.readyState && kept) return kept;              // it has not come that far again
      const time = video.currentTime, here = at(time);
      return { time, running: !video.paused, segment: here ? segmentOf(here) : -1, into: here ? time - here.start : 0 };
    },
    seek,
    close() { off.abort(); hls.destroy(); segment(null); },
  };
}
