// Everything the page says, in both languages. Chinese states and phases come from the API as they are.

import en from "./texts-en.js";
import zh from "./texts-zh.js";

export const TEXTS = { zh, en };

const STATES = { "等待中": "Waiting", "下载中": "Downloading", "已暂停": "Paused", "已完成": "Done", "失败": "Failed" };
const PHASES = { sniff: "Looking for the playlist", playlist: "Reading the playlist", download: "Downloading segments",
  analyse: "Checking segments", merge: "Merging into MP4" };

// What somebody chose here; null in a private window, which keeps nothing.
export function kept(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}
export function remember(name, value) {
  try { localStorage.setItem(name, value); } catch { /* and forgets it */ }
}
// The language somebody chose here, else the browser's.
export const preferred = () => kept("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

// By the API's error code; what it says in Chinese follows, since only that names the URL, the line or the segment.
export const ERRORS = {
  internal: "Something went wrong in the service", invalid_request: "The service does not take this",
  missing_task_id: "No task was named", task_not_found: "There is no such task",
  idempotency_conflict: "This Idempotency-Key was used for another request",
  invalid_transition: "The task cannot do that in its state", bad_curl_command: "The curl command cannot be used", bad_skip_expression: "The skip expression is wrong",
  bad_selection: "What is wanted cannot be understood", no_such_variant: "No variant of the stream is what was asked for",
  cannot_remake: "The task cannot do that now", cannot_verify: "The result cannot be looked at",
  too_many_tasks: "Too many tasks are not finished", report_not_found: "The task has no report yet", too_busy: "Too many others are waiting for the same",
  result_not_ready: "The task is not finished: there is no file yet", no_result_file: "The result is not one file on this machine",
  file_gone: "The file is gone, or was changed", range_not_satisfiable: "The file ends before that",
  nothing_to_watch: "There is nothing to play now: the task does not run", watch_the_file: "Play the finished file: its segments are gone",
  segment_absent: "That segment is not there", not_there_yet: "That is not there yet", no_picture: "There is no picture of that segment",
  wrong_host: "This is not an address of the service", foreign_origin: "Requests from other sites are refused",
  not_json: "The request is not JSON", not_found: "There is no such page", method_not_allowed: "This cannot be done here",
  bad_http: "The request is not valid HTTP", headers_too_large: "The request's headers are too large",
  unexpected_body: "The request cannot have a body", websocket_only: "Only WebSocket connections work here",
  bad_handshake: "This is not the handshake of a WebSocket",
  too_many_sockets: "Too many pages are open", too_many_requests: "Too many requests in a second",
  unauthorized: "Please log in",
  bad_token_file: "The file of the tokens cannot be used",
  bad_credentials: "The token, or the user name or password, is wrong",
  too_many_failures: "Too many failures: wait a little, then try again", forbidden: "Your role does not allow this",
  unsafe_path: "This file name or directory cannot be used", unsupported_scheme: "Only http and https links work",
  forbidden_address: "The link leads to a place on the network that may not be asked",
  invalid_url: "The link is not valid", bad_option: "A plugin does not take this option",
  bad_playlist: "The playlist is wrong", not_a_playlist: "There is no m3u8 playlist at this link",
  playlist_too_large: "The playlist is too large", playlist_too_deep: "The playlists nest too deep",
  nothing_to_download: "There is nothing to download", unsupported_encryption: "This encryption is not supported",
  bad_steering_manifest: "The list of other sources cannot be read",
  live_unsupported: "Live streams are not supported yet", skipped_by_status: "Segments were skipped, so nothing was merged",
  segment_slow: "One of the last segments takes long to come",
  segments_unusable: "Segments cannot be merged even when fetched again, and gaps are not allowed",
  silent_track: "Nothing of a chosen audio track could be used, and gaps are not allowed",
  separate_audio_unsupported: "Its audio is in a playlist of its own, which the chosen merger cannot take; use mp4",
  playlist_changed: "The playlist is not what it was", needs_url: "The link has expired: give the task a new one",
  fetch_failed: "A request failed", http_status: "The server answered with an error",
  http_4xx: "The server refuses the request", http_5xx: "The server has a problem", connect_failed: "Cannot connect",
  dns_failed: "The host name was not found", refused: "The server refuses the connection",
  reset: "The server broke off the connection", unreachable: "The network is unreachable",
  timeout_connect: "The server cannot be reached in time", timeout_headers: "The server does not answer in time",
  timeout_stall: "A download came to a stop", timeout_total: "A download took too long",
  retries_exhausted: "Too many requests had to be repeated",
  tls_untrusted: "The HTTPS certificate is not trusted", timeout: "The server was too slow", truncated: "A download was cut short",
  body_too_large: "A file or a request is too large", bad_response: "The server's answer makes no sense",
  bad_byterange: "The server sent another part than asked for", decompression_bomb: "Compressed data grows beyond reason",
  redirect_refused: "A redirect leads where it may not", proxy_failed: "The proxy failed",
  proxy_unreachable: "Cannot connect to the proxy", proxy_target_unreachable: "The proxy cannot connect to the server",
  proxy_refused: "The proxy refuses this server", proxy_auth_failed: "The proxy's user name or password is wrong",
  proxy_tls_untrusted: "The HTTPS certificate of the proxy is not trusted",
  proxy_unsupported: "This proxy cannot be used; nothing was connected directly",
  bad_segment: "A segment is wrong", not_media: "A segment is not media",
  missing_init: "A segment has no init section",
  decrypt_failed: "A segment cannot be decrypted", key_invalid: "The key is not valid",
  segment_failed: "A segment could not be downloaded", merge_failed: "Merging failed", merger_died: "Merging stopped unexpectedly",
  checkpoint_lost: "The checkpoint of the merge is lost", merge_lost: "Merging failed; deleted segments must be fetched again",
  no_media: "There is no usable audio or video", verify_failed: "The merged file is not what it should be",
  disk_full: "The disk is full", disk_error: "The disk does not take this", names_exhausted: "There is no free file name",
  disk_read_only: "The disk is read-only", disk_gone: "The disk is gone", no_permission: "No permission for the directory",
  too_many_files: "Too many open files",
  store_failed: "The database failed",
  db_locked: "The database is locked", db_damaged: "The database is damaged",
  db_unavailable: "The database server is not available", db_restored: "The database was damaged and was restored",
  db_file_lost: "The database file was removed or replaced",
  db_changes_lost: "Changes the database had lost were made again", backup_failed: "The database cannot be backed up",
  stale_task: "The task was changed meanwhile", plugin_failed: "A plugin failed",
  plugin_unavailable: "A plugin the task needs cannot be used", not_offered: "No plugin offers what the task names",
  publish_failed: "The result could not be stored",
};

// What is wrong with a task: in English as the service says it, where it still knows that.
export const trouble = (language, task) =>
  language === "en" && task.err_msg_en ? upper(task.err_msg_en) : complaint(language, task.err_code, task.err_msg);
export const advice = (language, task) => language === "zh" ? task.err_advice ?? "" : upper(task.err_advice_en ?? "");
const upper = text => text.slice(0, 1).toUpperCase() + text.slice(1);

export const complaint = (language, code, message) =>
  language === "zh" || !ERRORS[code] ? message ?? "" : `${ERRORS[code]} (${message})`;
export const state = (language, status) => language === "zh" ? status : STATES[status] ?? status;
export const phase = (language, name) => language === "zh" ? "" : PHASES[name] ?? "";

// What a task is called where it has no name: the end of its link.
export function nameOf(task) {
  if (task.filename) return task.filename;
  try { return decodeURIComponent(new URL(task.url).pathname.split("/").pop()) || task.id; } catch { return task.id; }
}

// A name for what a link leads to: its last part, or the one before where that says only what it is.
export function nameFrom(url) {
  try {
    const parts = decodeURIComponent(new URL(url).pathname).split("/").filter(Boolean).map(part => part.replace(/\.m3u8?$|\.mp4$/i, ""));
    const telling = parts.filter(part => !/^(index|playlist|master|main|chunklist|manifest|prog_index|hls|video)$/i.test(part));
    return (telling.at(-1) ?? "").replace(/[/\\:\u0000-\u001f]/g, " ").replace(/^[.-]+|[. ]+$/g, "").slice(0, 60);
  } catch { return ""; }
}
