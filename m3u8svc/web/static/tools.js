// What sends a link here from other pages: a bookmarklet and a userscript. Neither adds anything by itself: they open
// our page with the link filled in, and somebody presses the button.

import { language, say } from "./state.js";
import { TOOLS_TEXTS } from "./texts-tools.js";
import { html } from "./view.js";

// Where this page is, whatever path a reverse proxy gave us.
export const home = () => new URL(".", document.baseURI).href;

// Runs inside other people's pages: short, self-contained, and it only reads what the page has already asked for.
export const bookmarklet = base => `javascript:${encodeURIComponent(`(()=>{const found=performance.getEntriesByType("resource").map(e=>e.name).filter(n=>/\\.m3u8(\\?|$)/i.test(n));`
  + `open(${JSON.stringify(base)}+"?add="+encodeURIComponent(found[0]||location.href),"_blank","noopener")})()`)}`;

export function ToolsPage() {
  const text = TOOLS_TEXTS[language.value];
  const pressed = event => { event.preventDefault(); say(text.dragMe, "mild"); };   // our policy runs no such link, and should not
  return html`<article class="one tools">
    <h1>${text.tools}</h1>
    <p>${text.toolsIntro}</p>
    <section class="card" aria-labelledby="bookmarklet-title">
      <h2 id="bookmarklet-title">${text.bookmarklet}</h2>
      <p>${text.bookmarkletHow}</p>
      <p><a class="mark" href=${bookmarklet(home())} onClick=${pressed} draggable="true">${text.bookmarkletName}</a></p>
      <p class="hint">${text.bookmarkletWhat}</p>
    </section>
    <section class="card" aria-labelledby="userscript-title">
      <h2 id="userscript-title">${text.userscript}</h2>
      <p>${text.userscriptHow}</p>
      <p>${text.userscriptAddress} <code>${home()}</code></p>
      <p><a class="button" href="static/m3u8svc.user.js">${text.userscriptInstall}</a></p>
    </section>
  </article>`;
}
