// Logging in: a token alone, or a user's name and password. The answer's cookie is the browser's to keep; what was
// typed is not stored anywhere.

import { TEXTS, complaint, preferred, remember } from "./texts.js";

const $ = id => document.getElementById(id);
let language = preferred();

function speak() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = TEXTS[language][element.dataset.text];
  $("language").textContent = TEXTS[language].other;
}

function notice(message) {
  $("notice").textContent = message;
  $("notice").hidden = !message;
}

$("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  remember("language", language);
  notice("");
  speak();
});

$("login").addEventListener("submit", async event => {
  event.preventDefault();
  const button = $("login").querySelector("button");
  const user = $("user").value.trim(), secret = $("secret").value;
  button.disabled = true;
  notice("");
  try {
    const response = await fetch("api/session", {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify(user ? { user, password: secret } : { token: secret.trim() }),
    });
    const answer = await response.json();
    if (response.ok) return location.reload();
    notice(complaint(language, response.headers.get("X-Error-Code"), answer));
  } catch {
    notice(TEXTS[language].offline);
  }
  button.disabled = false;
  $("secret").select();
});

speak();
$("secret").focus();

// A browser that comes from another site's page, as a bookmarklet does, shows no cookie at first. What we open ourselves
// does: whoever has logged in already goes on at once, and only once, so that nothing goes round in circles.
const asked = new URLSearchParams(location.search);
if (asked.has("add") && !asked.has("again")) {
  asked.set("again", "");
  const { login } = await fetch("api/session").then(answer => answer.json()).catch(() => ({}));
  if (login) location.replace(`${location.pathname}?${asked}${location.hash}`);
}
