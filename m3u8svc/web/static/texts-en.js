// What the page says in English.

export default {
  other: "中文", url: "Playlist URL", filename: "File name (optional)", add: "Add", empty: "No tasks yet. Paste an m3u8 link to begin.",
  pause: "Pause", resume: "Resume", remove: "Delete", retry: "Retry", live: "Live", polling: "Polling", offline: "Offline",
  left: time => `${time} left`, segments: "segments", warnings: count => count === 1 ? "1 warning" : `${count} warnings`,
  first: "Start first", held: "Held", renew: "Go on with this link", queued: place => `No. ${place} in the queue`,
  user: "User name (empty with a token)", secret: "Token or password", login: "Log in", logout: "Log out",
  loginHint: "On the machine of the service, m3u8svc token create makes a token.",
  cancel: "Cancel", close: "Close", tasks: "Tasks", tools: "Bookmarklet and userscript", settings: "Settings", plugins: "Plugins", skip: "Skip to the content",
  auto: "as the system", light: "light", dark: "dark", theme: name => `Colours: ${name}`,
  removeTitle: count => count === 1 ? "Delete the task?" : `Delete ${count} tasks?`, withFiles: "Delete the downloaded files too",
  removeKept: "Without this, a finished file is kept.", noteDone: "Download finished", noteFailed: "Download failed",
  notifyDenied: "The browser does not allow notifications. Allow them in its settings of this site.",
  bulkFailed: (count, why) => count === 1 ? `One task did not: ${why}` : `${count} tasks did not: ${why}`,
  selectTask: name => `Select ${name}`,
};
