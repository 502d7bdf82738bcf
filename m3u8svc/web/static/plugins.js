// The plugins and how they fare.

import { ask } from "./api.js";
import { html, signal, useEffect } from "./view.js";
import { say, text, words as wordsOf } from "./state.js";

const found = signal(null);

export function PluginsPage() {
  const words = text.value;
  useEffect(() => { ask("GET", "api/plugins").then(answer => { found.value = answer; }, error => say(wordsOf(error))); }, []);
  const { plugins = [], mergers = [], storages = [] } = found.value ?? {};
  return html`
    <h1>${words.plugins}</h1>
    ${found.value && html`
      <p class="hint">${words.mergers}: ${mergers.join(", ")} · ${words.storages}: ${storages.join(", ")}</p>
      ${plugins.length === 0 && html`<p class="empty">${words.noPlugins}</p>`}
      ${plugins.map(plugin => html`<${Plugin} key=${plugin.name} plugin=${plugin} />`)}`}`;
}

const KINDS = { active: "done", off: "paused", broken: "failed", disabled: "failed" };

function Plugin({ plugin }) {
  const words = text.value, hooks = Object.entries(plugin.hooks);
  return html`
    <section class="card plugin ${KINDS[plugin.state] ?? "waiting"}" aria-label=${plugin.name}>
      <div class="plugin-head"><h2>${plugin.name}</h2><span class="state">${words.pluginStates[plugin.state] ?? plugin.state}</span>
        <span class="hint">${[plugin.distribution, plugin.version].filter(Boolean).join(" ")}</span></div>
      ${plugin.reason && html`<p class="error">${plugin.reason}</p>`}
      ${plugin.warnings.map(warning => html`<p class="advice" key=${warning}>${warning}</p>`)}
      ${hooks.length > 0 && html`
        <table><thead><tr><th scope="col">${words.hook}</th><th scope="col">${words.calls}</th><th scope="col">${words.failures}</th><th scope="col">${words.slow}</th></tr></thead>
          <tbody>${hooks.map(([name, tally]) => html`<tr key=${name}><th scope="row">${name}</th><td>${tally.calls}</td><td>${tally.failures}</td><td>${tally.slow}</td></tr>`)}</tbody></table>`}
    </section>`;
}
