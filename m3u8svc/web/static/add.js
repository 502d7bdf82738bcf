// The form that adds tasks.

import { html, useEffect, useRef } from "./view.js";
import { text } from "./state.js";
import { act } from "./tasks.js";

export function AddForm() {
  const form = useRef();
  const words = text.value;
  useEffect(() => {                       // a bookmarklet or a userscript opened us with a link; who adds it is the user
    const link = new URLSearchParams(location.search).get("add");
    if (link === null) return;
    form.current.querySelector("#url").value = link;
    form.current.querySelector("button").focus();
    history.replaceState(null, "", location.pathname + location.hash);
  }, []);
  const add = async event => {
    event.preventDefault();
    const [url, filename] = ["#url", "#filename"].map(name => form.current.querySelector(name));
    if (await act("POST", "api/tasks", { url: url.value, filename: filename.value })) {
      form.current.reset();
      url.focus();
    }
  };
  return html`
    <form id="add" class="card" autocomplete="off" ref=${form} onSubmit=${add}>
      <label class="wide"><span>${words.url}</span><input id="url" name="url" type="url" required maxlength="8192" placeholder="https://…/index.m3u8" /></label>
      <label><span>${words.filename}</span><input id="filename" name="filename" maxlength="200" /></label>
      <button type="submit" class="main">${words.add}</button>
    </form>`;
}
