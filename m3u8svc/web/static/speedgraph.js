// The speed of the last two minutes as one line with the ground below it; drawn as SVG, so that it is sharp and takes
// its colours from the style.

import { html, size } from "./view.js";

const WIDTH = 600, HEIGHT = 96, SECONDS = 120;

// The top of the scale: the next of 1, 2, 5 times a power of 1024's tenth above what there is, never nothing.
export function ceiling(speeds) {
  const most = Math.max(1024, ...speeds);
  let unit = 1024;
  while (most / unit >= 1024) unit *= 1024;
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1024];
  return steps.find(step => step * unit >= most) * unit;
}

// The line's points, the newest at the right end.
export function points(speeds, top) {
  const first = SECONDS - speeds.length;
  return speeds.map((speed, number) => [
    ((first + number) / (SECONDS - 1)) * WIDTH, HEIGHT - (Math.min(speed, top) / top) * (HEIGHT - 4) - 1,
  ]);
}

export function SpeedGraph({ speeds, text }) {
  const shown = speeds.slice(-SECONDS);
  const top = ceiling(shown);
  const line = points(shown, top).map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`);
  const now = shown.at(-1) ?? 0, most = Math.max(0, ...shown);
  const mean = shown.length ? shown.reduce((sum, each) => sum + each, 0) / shown.length : 0;
  const start = ((SECONDS - shown.length) / (SECONDS - 1)) * WIDTH;
  return html`<figure class="speed">
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img"
        aria-label=${text.speedSaid(size(now), size(most), size(mean))}>
      ${[0.25, 0.5, 0.75].map(part => html`<line key=${part} class="grid" x1="0" x2=${WIDTH} y1=${HEIGHT * part} y2=${HEIGHT * part} />`)}
      ${line.length > 1 && html`<polygon class="area" points="${start.toFixed(1)},${HEIGHT} ${line.join(" ")} ${WIDTH},${HEIGHT}" />
        <polyline class="line" points=${line.join(" ")} />`}
    </svg>
    <span class="top">${size(top)}/s</span>
    <figcaption><span>${text.twoMinutes}</span><span>${text.speedNow} <b>${size(now)}/s</b></span>
      <span>${text.speedMean} <b>${size(mean)}/s</b></span><span>${text.speedMost} <b>${size(most)}/s</b></span></figcaption>
  </figure>`;
}
