// Everything the page says, in both languages. Chinese states and phases come from the API as they are.

export const TEXTS = {
  zh: {
    other: "English", url: "播放列表链接", filename: "文件名（可留空）", add: "添加任务", empty: "还没有任务。粘贴一个 m3u8 链接开始。",
    pause: "暂停", resume: "继续", remove: "删除", retry: "重试", live: "实时", polling: "轮询", offline: "连接断开",
    left: time => `剩余 ${time}`, segments: "分片", confirm: name => `删除任务“${name}”？已完成的文件会保留。`, added: "任务已添加",
  },
  en: {
    other: "中文", url: "Playlist URL", filename: "File name (optional)", add: "Add", empty: "No tasks yet. Paste an m3u8 link to begin.",
    pause: "Pause", resume: "Resume", remove: "Delete", retry: "Retry", live: "Live", polling: "Polling", offline: "Offline",
    left: time => `${time} left`, segments: "segments", confirm: name => `Delete the task “${name}”? A finished file is kept.`, added: "Added",
  },
};

const STATES = { "等待中": "Waiting", "下载中": "Downloading", "已暂停": "Paused", "已完成": "Done", "失败": "Failed" };
const PHASES = { sniff: "Looking for the playlist", playlist: "Reading the playlist", download: "Downloading segments",
  analyse: "Checking segments", merge: "Merging into MP4" };

export const state = (language, status) => language === "zh" ? status : STATES[status] ?? status;
export const phase = (language, name) => language === "zh" ? "" : PHASES[name] ?? "";
