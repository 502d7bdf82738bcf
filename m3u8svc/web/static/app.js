// The page: its head, what stands at each address (#/, #/task/ID, #/settings, #/plugins, #/tools), and its one dialog.

import { ask } from "./api.js";
import { Icon, IconButton, html, later, render, useEffect, useRef } from "./view.js";
import { checkHealth, checkSession, degraded, dialog, language, link, notice, route, say, session, switchLanguage, switchTheme, text, theme } from "./state.js";
import { AddForm } from "./add.js";
import { List } from "./list.js";
import { start } from "./tasks.js";

const TaskPage = later(() => import("./task.js").then(module => module.TaskPage));
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
      <span id="link" class="link ${link.value}" role="status">${words[link.value]}</span>
      <${IconButton} id="theme" icon=${{ auto: "auto", light: "sun", dark: "moon" }[theme.value]} label=${words.theme(words[theme.value])} onClick=${switchTheme} />
      <button id="language" type="button" class="plain" lang=${language.value === "zh" ? "en" : "zh-CN"} onClick=${switchLanguage}>${words.other}</button>
      ${session.value.login && html`<${IconButton} id="logout" icon="out" label=${`${words.logout} ${session.value.name ?? ""}`} onClick=${logOut} />`}
    </header>`;
}

function Degraded() {
  const end = language.value === "zh" ? "" : "_en";
  const lines = degraded.value.map(each => `${each[`text${end}`]} [${each.code}] ${each[`advice${end}`]}`);
  return lines.length > 0 && html`<p id="degraded" class="notice" role="status">${lines.join("\n")}</p>`;
}

function Notice() {
  if (!notice.value) return null;
  return html`
    <div id="notice" class="notice ${notice.value.mild ? "mild" : ""}" role="alert">
      <span>${notice.value.text}</span><${IconButton} icon="close" label=${text.value.close} onClick=${() => say("")} />
    </div>`;
}

function Page() {
  const { page, id } = route.value;
  if (page === "task") return html`<${TaskPage} key=${id} id=${id} />`;
  if (page === "tools") return html`<${ToolsPage} />`;
  return html`<h1 class="unseen">${text.value.tasks}</h1><${AddForm} /><${List} />`;
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
    <${Head} />
    <main ref=${main} tabindex="-1"><${Degraded} /><${Notice} /><${Page} /></main>
    <footer>m3u8svc ${version} · <a href="#/tools">${text.value.tools}</a></footer>
    ${dialog.value?.()}`;
}

render(html`<${App} />`, document.getElementById("app"));
checkSession();
checkHealth();
start();
