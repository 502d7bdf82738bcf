// ==UserScript==
// @name         m3u8svc
// @name:zh-CN   发送到 m3u8svc
// @description  Where a page asks for an m3u8, a button sends the link to your m3u8svc.
// @description:zh-CN  网页请求 m3u8 时，用一个按钮把链接送到你的 m3u8svc。
// @version      1
// @license      MIT
// @match        *://*/*
// @run-at       document-start
// @grant        GM_getValue
// @grant        GM_setValue
// @grant        GM_registerMenuCommand
// ==/UserScript==

// It opens the service's page with the link filled in; nothing is added until you press Add there. It asks no server
// for anything, and reads nothing of a page but the addresses the page itself has asked for.

(() => {
  "use strict";
  const zh = navigator.language.startsWith("zh");
  const words = zh ? { button: "发送到 m3u8svc", ask: "m3u8svc 的地址，例如 http://127.0.0.1:8080/", change: "更改 m3u8svc 的地址", close: "关闭" }
    : { button: "Send to m3u8svc", ask: "The address of m3u8svc, such as http://127.0.0.1:8080/", change: "Change the address of m3u8svc", close: "Close" };
  const home = () => GM_getValue("home", "");
  const settle = () => {
    const typed = prompt(words.ask, home() || "http://127.0.0.1:8080/");
    try {
      const address = new URL(typed);
      if (!/^https?:$/.test(address.protocol)) return "";
      GM_setValue("home", new URL(".", address).href);
    } catch { /* nothing typed, or no address: as it was */ }
    return home();
  };
  GM_registerMenuCommand(words.change, settle);

  let latest = "", shown = null;
  const send = () => {
    const where = home() || settle();
    if (where) window.open(`${where}?add=${encodeURIComponent(latest)}`, "_blank", "noopener");
  };
  const show = () => {
    if (shown || !document.body) return;
    shown = document.createElement("div");
    const inside = shown.attachShadow({ mode: "closed" });
    const button = document.createElement("button"), close = document.createElement("button");
    button.textContent = words.button;
    close.textContent = "×";
    close.ariaLabel = words.close;
    for (const each of [button, close]) {
      each.style.cssText = "all:initial;cursor:pointer;padding:8px 12px;font:14px system-ui,sans-serif;color:#fff;background:#2157d6;border-radius:8px;margin-left:4px";
    }
    shown.style.cssText = "position:fixed;right:16px;bottom:16px;z-index:2147483647";
    button.addEventListener("click", send);
    close.addEventListener("click", () => shown.remove());
    inside.append(button, close);
    document.body.append(shown);
  };
  const look = entries => {
    for (const { name } of entries) {
      if (!/\.m3u8(\?|$)/i.test(name) || (home() && name.startsWith(home()))) continue;
      latest = latest || name;     // the first is most often the one that lists the others
      if (document.body) show(); else document.addEventListener("DOMContentLoaded", show, { once: true });
    }
  };
  new PerformanceObserver(list => look(list.getEntries())).observe({ type: "resource", buffered: true });
})();
