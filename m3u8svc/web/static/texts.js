// Everything the page says, in both languages. Chinese states and phases come from the API as they are.

export const TEXTS = {
  zh: {
    other: "English", url: "播放列表链接", filename: "文件名（可留空）", add: "添加任务", empty: "还没有任务。粘贴一个 m3u8 链接开始。",
    pause: "暂停", resume: "继续", remove: "删除", retry: "重试", live: "实时", polling: "轮询", offline: "连接断开",
    left: time => `剩余 ${time}`, segments: "分片", confirm: name => `删除任务“${name}”？已完成的文件会保留。`,
    warnings: count => `${count} 条提示`,
  },
  en: {
    other: "中文", url: "Playlist URL", filename: "File name (optional)", add: "Add", empty: "No tasks yet. Paste an m3u8 link to begin.",
    pause: "Pause", resume: "Resume", remove: "Delete", retry: "Retry", live: "Live", polling: "Polling", offline: "Offline",
    left: time => `${time} left`, segments: "segments", confirm: name => `Delete the task “${name}”? A finished file is kept.`,
    warnings: count => count === 1 ? "1 warning" : `${count} warnings`,
  },
};

const STATES = { "等待中": "Waiting", "下载中": "Downloading", "已暂停": "Paused", "已完成": "Done", "失败": "Failed" };
const PHASES = { sniff: "Looking for the playlist", playlist: "Reading the playlist", download: "Downloading segments",
  analyse: "Checking segments", merge: "Merging into MP4" };

// By the API's error code; what it says in Chinese follows, since only that names the URL, the line or the segment.
export const ERRORS = {
  internal: "Something went wrong in the service", invalid_request: "The service does not take this",
  missing_task_id: "No task was named", task_not_found: "There is no such task",
  invalid_transition: "The task cannot do that in its state", bad_skip_expression: "The skip expression is wrong",
  bad_selection: "What is wanted cannot be understood", no_such_variant: "No variant of the stream is what was asked for",
  cannot_remake: "The task cannot do that now", cannot_verify: "The result cannot be looked at",
  report_not_found: "The task has no report yet",
  unsafe_path: "This file name or directory cannot be used", unsupported_scheme: "Only http and https links work",
  invalid_url: "The link is not valid", bad_option: "A plugin does not take this option",
  bad_playlist: "The playlist is wrong", not_a_playlist: "There is no m3u8 playlist at this link",
  playlist_too_large: "The playlist is too large", playlist_too_deep: "The playlists nest too deep",
  nothing_to_download: "There is nothing to download", unsupported_encryption: "This encryption is not supported",
  bad_steering_manifest: "The list of other sources cannot be read",
  live_unsupported: "Live streams are not supported yet", skipped_by_status: "Segments were skipped, so nothing was merged",
  segments_unusable: "Segments cannot be merged even when fetched again, and gaps are not allowed",
  silent_track: "Nothing of a chosen audio track could be used, and gaps are not allowed",
  separate_audio_unsupported: "Its audio is in a playlist of its own, which the chosen merger cannot take; use mp4",
  fetch_failed: "A request failed", http_status: "The server answered with an error", connect_failed: "Cannot connect",
  tls_untrusted: "The HTTPS certificate is not trusted", timeout: "The server was too slow", truncated: "A download was cut short",
  body_too_large: "A file is too large", bad_response: "The server's answer makes no sense",
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
  store_failed: "The database failed", stale_task: "The task was changed meanwhile", plugin_failed: "A plugin failed",
  plugin_unavailable: "A plugin the task needs cannot be used", not_offered: "No plugin offers what the task names",
  publish_failed: "The result could not be stored",
};

export const complaint = (language, code, message) =>
  language === "zh" || !ERRORS[code] ? message ?? "" : `${ERRORS[code]} (${message})`;
export const state = (language, status) => language === "zh" ? status : STATES[status] ?? status;
export const phase = (language, name) => language === "zh" ? "" : PHASES[name] ?? "";
