// The system settings: what a task gets whose request says nothing, and the limits of the service.

import { ask } from "./api.js";
import { html, signal, useEffect, useRef } from "./view.js";
import { language, notify, say, switchNotify, switchTheme, text, theme, warned, words as wordsOf } from "./state.js";
import { Fields, bodyOf, groupsOf, showProblem, typed } from "./fields.js";
import { refresh } from "./tasks.js";

const values = signal(null);
const saved = signal(null);
const offers = signal({});
const problems = signal({});
const busy = signal(false);

async function load() {
  try {
    const [settings, plugins] = await Promise.all([ask("GET", "api/settings"), ask("GET", "api/plugins").catch(() => ({}))]);
    const read = {};
    for (const { name, kind } of groupsOf("s").flatMap(group => group.fields)) read[name] = typed(kind, settings[name]);
    offers.value = { ...plugins, default: settings.default_save_location };
    saved.value = read;
    values.value = read;
    problems.value = {};
  } catch (error) {
    say(wordsOf(error));
  }
}

async function save(form) {
  const { body, problems: wrong } = bodyOf("s", values.peek(), text.peek());
  problems.value = wrong;
  if (!Object.keys(wrong).length) {
    busy.value = true;
    try {
      const answer = await ask("POST", "api/settings", body);
      await load();
      refresh();        // the head says the limit that holds now
      say([text.peek().saved, ...warned(answer)].join(" · "), answer.warnings?.length ? "mild" : "good");
    } catch (error) {
      const { "": rest, ...named } = error.fields?.(language.peek()) ?? {};
      problems.value = named;
      if (rest || !Object.keys(named).length) say(rest ?? wordsOf(error));
    }
    busy.value = false;
  }
  if (Object.keys(problems.peek()).length) showProblem(form);
}

export function SettingsPage() {
  const form = useRef();
  const words = text.value;
  useEffect(() => { load(); }, []);
  const changed = values.value && JSON.stringify(values.value) !== JSON.stringify(saved.value);
  const set = (name, value) => {
    values.value = { ...values.peek(), [name]: value };
    if (problems.peek()[name]) problems.value = { ...problems.peek(), [name]: undefined };
  };
  return html`
    <h1>${words.settings}</h1>
    <section class="card browser-settings" aria-label=${words.thisBrowser}>
      <h2>${words.thisBrowser}</h2>
      <label class="check"><input id="notify" type="checkbox" checked=${notify.value} disabled=${!("Notification" in window)} onChange=${async event => { await switchNotify(); event.target.checked = notify.peek(); }} />${words.notify}</label>
      <button type="button" onClick=${switchTheme}>${words.theme(words[theme.value])}</button>
    </section>
    ${values.value && html`
      <form id="settings" class="card" novalidate ref=${form} onSubmit=${event => { event.preventDefault(); save(form.current); }}>
        <h2>${words.forNewTasks}</h2>
        <p class="hint">${words.defaultPlace(offers.value.default ?? "")}</p>
        <${Fields} where="s" values=${values.value} problems=${problems.value} offers=${offers.value} change=${set} />
        <div class="dialog-buttons stay">
          <button type="button" disabled=${!changed} onClick=${() => { values.value = saved.peek(); problems.value = {}; }}>${words.undo}</button>
          <button type="submit" class="main" disabled=${busy.value || !changed}>${words.save}</button>
        </div>
      </form>`}`;
}
