// What all of the page shares: the language, the colours, where one is, how the service is, and what it last said.

import { ask } from "./api.js";
import { computed, effect, signal } from "./view.js";
import { TEXTS, kept, preferred, remember } from "./texts.js";

const HEALTH_MS = 15000;
const NOTICE_MS = 8000;

export const language = signal(preferred());
export const text = computed(() => TEXTS[language.value]);
export const theme = signal(kept("theme") ?? "auto");     // auto, light, dark
export const link = signal("polling");                    // live, polling, offline
export const degraded = signal([]);
export const session = signal({});
export const dialog = signal(null);                       // a function that renders the one dialog there may be
export const notice = signal(null);                       // { text, kind }
export const notify = signal(kept("notify") === "yes" && "Notification" in window && Notification.permission === "granted");

// "#/task/ID" is { page: "task", id: "ID" }; "#/settings" is { page: "settings" }.
export const route = signal(where());
function where() {
  const [, page = "", id = ""] = location.hash.split("/");
  let decoded = id;
  try { decoded = decodeURIComponent(id); } catch { /* as it is */ }
  return { page, id: decoded };
}
addEventListener("hashchange", () => { route.value = where(); });
export const go = path => { location.hash = path; };

effect(() => { document.documentElement.lang = language.value === "zh" ? "zh-CN" : "en"; });
effect(() => { document.documentElement.dataset.theme = theme.value; });

export function switchLanguage() {
  language.value = language.value === "zh" ? "en" : "zh";
  remember("language", language.value);
}

export function switchTheme() {
  theme.value = { auto: "light", light: "dark", dark: "auto" }[theme.value];
  remember("theme", theme.value);
}

export async function switchNotify() {
  if (!notify.value && await Notification.requestPermission() !== "granted") {
    say(text.value.notifyDenied);
    return;
  }
  notify.value = !notify.value;
  remember("notify", notify.value ? "yes" : "no");
}

let hush = 0;
export function say(words, kind = "bad") {                // or "mild", a warning, or "good", neither of which stays
  clearTimeout(hush);
  notice.value = words ? { text: words, kind } : null;
  if (words && kind !== "bad") hush = setTimeout(() => { notice.value = null; }, NOTICE_MS);
}

export const words = error => error.text?.(language.peek()) ?? text.peek().offline;

// What an answer warns of, in the language of the page if the service says it in that.
export const warned = answer => (language.value === "en" && answer?.warnings_en) || answer?.warnings || [];
export const inLine = texts => texts.join(language.peek() === "en" ? "; " : "；");

// Run something that asks the service; say what it warned of, or why not. Whether it did it.
export async function attempt(run) {
  try {
    const answer = await run();
    say(inLine(warned(answer)), "mild");
    return true;
  } catch (error) {
    say(words(error));
    return false;
  }
}

let recheck = 0;
export async function checkHealth() {
  clearTimeout(recheck);
  if (!document.hidden) degraded.value = (await ask("GET", "api/health").catch(() => ({ degraded: [] }))).degraded;
  recheck = setTimeout(checkHealth, HEALTH_MS);
}

export async function checkSession() {
  session.value = await ask("GET", "api/session").catch(() => ({}));
}
