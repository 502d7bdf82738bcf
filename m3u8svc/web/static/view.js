// What every part of the page is made with: components as templates (htm), values that redraw what shows them (signals).

import { Fragment, h, render } from "./vendor/preact.js";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/preact-hooks.js";
import htm from "./vendor/htm.js";
import { batch, computed, effect, signal, untracked, useComputed, useSignal, useSignalEffect } from "./vendor/signals.js";

export const html = htm.bind(h);
export { Fragment, h, render, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState };
export { batch, computed, effect, signal, untracked, useComputed, useSignal, useSignalEffect };

const PATHS = {
  add: "M12 5v14M5 12h14", bell: "M6 9a6 6 0 0 1 12 0c0 6 2.5 7 2.5 7h-17S6 15 6 9M10 20a2.2 2.2 0 0 0 4 0",
  close: "M6 6l12 12M18 6L6 18", down: "M12 4v12M7 12l5 5 5-5M5 21h14", drag: "M9 6h.01M15 6h.01M9 12h.01M15 12h.01M9 18h.01M15 18h.01",
  first: "M12 20V8M7 12l5-5 5 5M5 4h14", gear: "M4 7h10M18 7h2M4 17h2M10 17h10M14 4v6M6 14v6", help: "M9.2 9a3 3 0 1 1 4.3 2.7c-1 .5-1.5 1.2-1.5 2.3M12 17.5v.01",
  list: "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01", moon: "M20 14.5A8.5 8.5 0 1 1 9.5 4 7 7 0 0 0 20 14.5",
  out: "M14 4H5v16h9M10 12h11M17 8l4 4-4 4", pause: "M8 5v14M16 5v14", plug: "M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4",
  play: "M7 5l12 7-12 7z", retry: "M20 12a8 8 0 1 1-2.6-5.9M20 3v5h-5", search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14M16 16l5 5",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5",
  auto: "M4 5h16v11H4zM9 20h6M12 16v4", trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5", more: "M6 9l6 6 6-6", up: "M12 20V5M6 11l6-6 6 6", downward: "M12 4v15M6 13l6 6 6-6", plan: "M6 3h9l4 4v14H6zM9 12h7M9 16h5",
};
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;

// A component that is loaded when it is first shown, and nothing until then.
export function later(load) {
  const loaded = signal(null);
  let asked = false;
  return props => {
    if (!asked) {
      asked = true;
      load().then(component => { loaded.value = component; }, () => { asked = false; });
    }
    return loaded.value && html`<${loaded.value} ...${props} />`;
  };
}

// A button that is a picture: `label` is its name for who cannot see it, and its tooltip.
export const IconButton = ({ icon, label, onClick, ...rest }) => html`
  <button type="button" class="icon-button" aria-label=${label} title=${label} onClick=${onClick} ...${rest}><${Icon} name=${icon} /></button>`;

export function size(bytes) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let step = 0;
  while (bytes >= 1024 && step < units.length - 1) { bytes /= 1024; step += 1; }
  return `${bytes.toFixed(step > 1 ? 2 : 0)}\u00a0${units[step]}`;
}

export function clock(seconds) {
  const two = number => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60), rest = two(Math.floor(seconds % 60));
  return minutes < 60 ? `${two(minutes)}:${rest}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${rest}`;
}

// A modal dialog: the browser's own, which keeps the focus inside, ends with Esc and gives the focus back.
export function Dialog({ title, onClose, children }) {
  const element = useRef();
  useEffect(() => {
    const dialog = element.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return html`
    <dialog ref=${element} aria-labelledby="dialog-title" onCancel=${event => { event.preventDefault(); onClose(); }}>
      <h2 id="dialog-title">${title}</h2>
      ${children}
    </dialog>`;
}
