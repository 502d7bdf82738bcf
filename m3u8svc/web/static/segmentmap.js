// The map of a task's segments: one cell each, or one for several where there are more than fit. What a cell shows is
// decided by pure functions; the canvas only paints it. It is one control for mouse, finger and keyboard: a position.

import { html, useEffect, useRef, useState } from "./view.js";

export const NAMES = { d: "done", r: "retried", f: "inflight", x: "failed", s: "skipped", ".": "waiting" };
export const ORDER = ["d", "r", "f", "x", "s", "."];
const HEIGHT = 150, LARGEST = 16, SMALLEST = 5;

// How many segments are in each state.
export function counted(states) {
  const found = { d: 0, r: 0, f: 0, x: 0, s: 0, ".": 0 };
  for (let at = 0; at < states.length; at += 1) found[states[at] in found ? states[at] : "."] += 1;
  return found;
}

// How cells are laid out for so many segments: their size with its gap, how many stand in a row, and how many segments
// one cell stands for. Cells are as large as the height allows.
export function layout(total, width, height = HEIGHT) {
  const count = Math.max(total, 1);
  for (let size = LARGEST; size > SMALLEST; size -= 1) {
    const columns = Math.max(1, Math.floor(width / size));
    const rows = Math.ceil(count / columns);
    if (rows * size <= height) return { size, columns, rows, each: 1 };
  }
  const columns = Math.max(1, Math.floor(width / SMALLEST));
  const each = Math.ceil(count / (columns * Math.floor(height / SMALLEST)));
  return { size: SMALLEST, columns, rows: Math.ceil(Math.ceil(count / each) / columns), each };
}

// What each cell shows: its colour's letter, and how much of it is there (0 to 1). What failed is seen whatever is
// around it, then what is in flight; a cell with something done and something not is done in part. One for several says
// "retried" where that is a quarter of them: in a long film there is one nearly everywhere.
export function cells(states, each) {
  const shown = [];
  for (let first = 0; first < states.length; first += each) {
    const last = Math.min(first + each, states.length);
    const found = { d: 0, r: 0, f: 0, x: 0, s: 0, ".": 0 };
    for (let at = first; at < last; at += 1) found[states[at] in found ? states[at] : "."] += 1;
    const there = found.d + found.r;
    if (found.x) shown.push({ letter: "x", part: 1 });
    else if (found.f) shown.push({ letter: "f", part: 1 });
    else if (there) shown.push({ letter: found.r * 4 >= there ? "r" : "d", part: there / (there + found["."]) });
    else if (found["."]) shown.push({ letter: ".", part: 1 });
    else shown.push({ letter: "s", part: 1 });
  }
  return shown;
}

// The next segment in this direction whose state is another one than that at `from`; the end if there is none.
export function nextChange(states, from, step) {
  let at = from;
  while (at + step >= 0 && at + step < states.length) {
    at += step;
    if (states[at] !== states[from]) return at;
  }
  return at;
}

export function SegmentMap({ track, label, text, hint, marked, onPick }) {
  const canvas = useRef(null);
  const [width, setWidth] = useState(0);
  const [looks, setLooks] = useState(0);
  const [at, setAt] = useState(null);
  const total = track.states.length;
  const grid = layout(total, width || 600);
  const here = at === null ? null : Math.min(at, total - 1);

  useEffect(() => watchWidth(canvas.current, setWidth), []);
  useEffect(() => watchLooks(() => setLooks(count => count + 1)), []);
  useEffect(() => {
    if (width) paint(canvas.current, cells(track.states, grid.each), grid, width,
      { here: cellOf(here, grid), marked: cellOf(marked, grid) });
  }, [track.states, width, looks, here, marked]);

  const pick = (position, go) => { setAt(position); if (go) onPick?.(position); };
  const pointed = event => {
    const box = canvas.current.getBoundingClientRect();
    const column = Math.min(grid.columns - 1, Math.floor((event.clientX - box.left) / grid.size));
    const row = Math.floor((event.clientY - box.top) / grid.size);
    const position = (row * grid.columns + Math.max(0, column)) * grid.each;
    return position >= 0 && position < total ? position : null;
  };
  const keyed = event => {
    const from = here ?? 0;
    const steps = { ArrowRight: grid.each, ArrowLeft: -grid.each, ArrowDown: grid.each * grid.columns,
      ArrowUp: -grid.each * grid.columns };
    let to = null;
    if (event.key in steps) to = at === null ? 0 : from + steps[event.key];
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = total - 1;
    else if (event.key === "PageDown") to = nextChange(track.states, from, 1);
    else if (event.key === "PageUp") to = nextChange(track.states, from, -1);
    else if (event.key === "Enter" || event.key === " ") to = from;
    if (to === null) return;
    event.preventDefault();
    pick(Math.max(0, Math.min(total - 1, to)), event.key === "Enter" || event.key === " ");
  };

  return html`<canvas ref=${canvas} class="map" tabindex="0" role="slider" aria-label=${label}
      aria-valuemin="1" aria-valuemax=${Math.max(total, 1)} aria-valuenow=${(here ?? 0) + 1}
      aria-valuetext=${here === null ? text.mapHint : said(track, here, grid.each, text)}
      onKeyDown=${keyed}
      onClick=${event => { const position = pointed(event); if (position !== null) pick(position, true); }}></canvas>
    <p class="readout" aria-hidden="true">${here === null ? hint : said(track, here, grid.each, text)}</p>`;
}

function said(track, position, each, text) {
  const first = Math.floor(position / each) * each;
  const last = Math.min(first + each, track.states.length);
  if (each === 1) return text.segmentIs(position + 1, track.states.length, text[NAMES[track.states[position]] ?? "waiting"]);
  const found = counted(track.states.slice(first, last));
  const parts = ORDER.filter(letter => found[letter]).map(letter => `${text[NAMES[letter]]} ${found[letter]}`);
  return text.segmentsAre(first + 1, last, track.states.length, parts.join(text.comma));
}

export function Legend({ tracks, text }) {
  const sum = { d: 0, r: 0, f: 0, x: 0, s: 0, ".": 0 };
  for (const track of tracks) {
    const found = counted(track.states);
    for (const letter of ORDER) sum[letter] += found[letter];
  }
  return html`<ul class="legend" aria-label=${text.legend}>${ORDER.map(letter => html`
    <li key=${letter} class=${sum[letter] ? "" : "none"}><i class=${`swatch ${NAMES[letter]}`} aria-hidden="true"></i>${text[NAMES[letter]]}
      ${" "}<b>${sum[letter].toLocaleString("en")}</b></li>`)}</ul>`;
}

// -- The canvas --

function cellOf(position, grid) {
  return position === null || position === undefined ? null : Math.floor(position / grid.each);
}

function watchWidth(element, tell) {
  const look = () => tell(Math.floor(element.parentElement.clientWidth));
  const observer = new ResizeObserver(look);
  observer.observe(element.parentElement);
  look();
  return () => observer.disconnect();
}

// Light and dark come from the system or from an attribute of the page; the canvas has to be told.
function watchLooks(tell) {
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(tell);
  scheme.addEventListener("change", tell);
  observer.observe(document.documentElement, { attributes: true });
  return () => { scheme.removeEventListener("change", tell); observer.disconnect(); };
}

function paint(canvas, shown, grid, width, { here, marked }) {
  const sharp = window.devicePixelRatio || 1;
  const height = grid.rows * grid.size;
  canvas.width = Math.round(width * sharp);
  canvas.height = Math.round(height * sharp);
  canvas.style.height = `${height}px`;
  const style = getComputedStyle(canvas);
  const colour = Object.fromEntries(ORDER.map(letter => [letter, style.getPropertyValue(`--map-${NAMES[letter]}`).trim()]));
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  const gap = grid.size > 7 ? 2 : 1, side = grid.size - gap, round = grid.size > 9 ? 2 : 0;
  const square = (x, y, inset = 0) => {
    pen.beginPath();
    pen.roundRect(x + inset, y + inset, side - 2 * inset, side - 2 * inset, round);
  };
  shown.forEach(({ letter, part }, number) => {
    const x = (number % grid.columns) * grid.size, y = Math.floor(number / grid.columns) * grid.size;
    if (part < 1) { pen.fillStyle = colour["."]; square(x, y); pen.fill(); }
    pen.globalAlpha = part < 1 ? 0.25 + 0.75 * part : 1;
    pen.fillStyle = colour[letter];
    square(x, y);
    if (letter === "s" && side > 5) {           // hollow: told by its shape, too
      pen.strokeStyle = colour.s;
      pen.lineWidth = 1.5;
      square(x, y, 0.75);
      pen.stroke();
    } else {
      pen.fill();
    }
    pen.globalAlpha = 1;
    if (side > 5 && (letter === "x" || letter === "r" || letter === "f")) sign(pen, letter, x, y, side, style);
  });
  for (const [cell, ink] of [[marked, "--map-marked"], [here, "--map-here"]]) {
    if (cell === null || cell >= shown.length) continue;
    pen.strokeStyle = style.getPropertyValue(ink).trim();
    pen.lineWidth = 2;
    square((cell % grid.columns) * grid.size, Math.floor(cell / grid.columns) * grid.size, -0.5);
    pen.stroke();
  }
}

// A cross, a dot, a bar: what went wrong, what went wrong once, what is on its way; for who sees no colours.
function sign(pen, letter, x, y, side, style) {
  pen.strokeStyle = pen.fillStyle = style.getPropertyValue("--map-sign").trim();
  pen.lineWidth = 1.5;
  const near = side * 0.3, far = side * 0.7;
  pen.beginPath();
  if (letter === "x") {
    pen.moveTo(x + near, y + near); pen.lineTo(x + far, y + far);
    pen.moveTo(x + far, y + near); pen.lineTo(x + near, y + far);
    pen.stroke();
  } else if (letter === "r") {
    pen.arc(x + side / 2, y + side / 2, side * 0.16, 0, 2 * Math.PI);
    pen.fill();
  } else {
    pen.fillRect(x + near, y + side * 0.62, far - near, side * 0.16);
  }
}
