// The page: its head, what stands at each address (#/, #/task/ID, #/settings, #/plugins, #/tools), and its one dialog.

import { ask } from "./api.js";
import { Icon, IconButton, html, later, render, size, useEffect, useRef } from "./view.js";
import { checkHealth, checkSession, degraded, dialog, language, link, notice, route, say, session, switchLanguage, switchTheme, text, theme } from "./state.js";
import { AddForm } from "./add.js";
import { List, Toolbar } from "./list.js";
import { help } from "./keys.js";
import { counts, start } from "./tasks.js";

const TaskPage = later(() => import("./task.js").then(module => module.TaskPage));
const SettingsPage = later(() => import("./settings.js").then(module => module.SettingsPage));
const PluginsPage = later(() => import("./plugins.js").then(module => module.PluginsPage));
const ToolsPage = later(() => import("./tools.js").then(module => module.ToolsPage));


const version = document.getElementById("app").dataset.version;

async function logOut() {
  await ask("DELETE", "api/session").catch(() => {});
  location.reload();
}

function Head() {
  const words = text.value;
  const here = page => route.value.page === page || (page === "" && route.value.page === "task") ? "page" : undefined;
  return html`
    <header>
      <a class="brand" href="#/"><img src="static/icon.svg" alt="" width="26" height="26" />m3u8svc</a>
      <nav aria-label="m3u8svc">
        <a href="#/" aria-current=${here("")}><${Icon} name="list" />${words.tasks}</a>
        <a href="#/settings" aria-current=${here("settings")}><${Icon} name="gear" />${words.settings}</a>
        <a href="#/plugins" aria-current=${here("plugins")}><${Icon} name="plug" />${words.plugins}</a>
      </nav>
      <${Stats} />
      <span id="link" class="link ${link.value}" role="status">${words[link.value]}</span>
      <${IconButton} id="theme" icon=${{ auto: "auto", light: "sun", dark: "moon" }[theme.value]} label=${words.theme(words[theme.value])} onClick=${switchTheme} />
      <${IconButton} id="help" icon="help" label=${words.help} aria-keyshortcuts="?" onClick=${help} />
      <button id="language" type="button" class="plain" lang=${language.value === "zh" ? "en" : "zh-CN"} onClick=${switchLanguage}>${words.other}</button>
      ${session.value.login && html`<${IconButton} id="logout" icon="out" label=${`${words.logout} ${session.value.name ?? ""}`} onClick=${logOut} />`}
    </header>`;
}

// How fast everything is together, how fast it may be, and how much room there is.
function Stats() {
  const words = text.value, numbers = counts.value;
  if (!numbers) return html`<span class="stats"></span>`;
  const free = numbers.disk.filter(disk => disk.free !== null).map(disk => disk.free);
  return html`
    <dl class="stats">
      <div title=${words.speed}><dt class="unseen">${words.speed}</dt><dd id="speed">↓ ${size(numbers.speed)}/s</dd></div>
      ${numbers.limit_rate > 0 && html`<div><dt>${words.limit}</dt><dd id="limit">${size(numbers.limit_rate)}/s</dd></div>`}
      ${free.length > 0 && html`<div title=${numbers.disk.map(disk => disk.path).join("\n")}><dt>${words.free}</dt><dd id="free">${size(Math.min(...free))}</dd></div>`}
    </dl>`;
}

function Degraded() {
  const end = language.value === "zh" ? "" : "_en";
  const lines = degraded.value.map(each => `${each[`text${end}`]} [${each.code}] ${each[`advice${end}`]}`);
  return lines.length > 0 && html`<p id="degraded" class="notice" role="status">${lines.join("\n")}</p>`;
}

function Notice() {
  if (!notice.value) return null;
  return html`
    <div id="notice" class="notice ${notice.value.kind}" role="alert">
      <span>${notice.value.text}</span><${IconButton} icon="close" label=${text.value.close} onClick=${() => say("")} />
    </div>`;
}

function Page() {
  const { page, id } = route.value;
  if (page === "task") return html`<${TaskPage} key=${id} id=${id} />`;
  if (page === "settings") return html`<${SettingsPage} />`;
  if (page === "plugins") return html`<${PluginsPage} />`;
  if (page === "tools") return html`<${ToolsPage} />`;
  return html`<h1 class="unseen">${text.value.tasks}</h1><${AddForm} /><${Toolbar} /><${List} />`;
}

function App() {
  const main = useRef();
  const { page, id } = route.value;
  const moved = useRef(false);
  useEffect(() => {
    if (moved.current) main.current.focus({ preventScroll: true });   // another page begins at its beginning
    moved.current = true;
  }, [page, id]);
  return html`
    <a class="skip" href="#main" onClick=${event => { event.preventDefault(); main.current.focus(); }}>${text.value.skip}</a>
    <${Head} />
    <main id="main" ref=${main} tabindex="-1"><${Degraded} /><${Notice} /><${Page} /></main>
    <footer>m3u8svc ${version} · <a href="#/tools">${text.value.tools}</a></footer>
    ${dialog.value?.()}`;
}

render(html`<${App} />`, document.getElementById("app"));
checkSession();
checkHealth();
start();
