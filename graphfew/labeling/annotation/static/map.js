// Draws the map of all items on a canvas.
"use strict";

const canvas = document.getElementById("map");
const caption = document.getElementById("map-caption");
const PADDING = 14;
let data = null;
let chosen = null;
let labeled = new Set();

function color(classId) {
  const name = classId < 0 ? "--none" : `--c${classId % 8}`;
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function place(index) {
  const [x, y] = data.positions[index];
  return [PADDING + x * (canvas.clientWidth - 2 * PADDING), PADDING + y * (canvas.clientHeight - 2 * PADDING)];
}

function mark(context, shape, x, y, radius) {
  context.beginPath();
  if (shape === 0) context.arc(x, y, radius, 0, 2 * Math.PI);
  if (shape === 1) context.rect(x - radius * 0.9, y - radius * 0.9, radius * 1.8, radius * 1.8);
  const corners = { 2: [[0, -1.2], [1.1, 0.9], [-1.1, 0.9]], 3: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]] }[shape];
  if (corners) {
    corners.forEach(([dx, dy], i) => context[i ? "lineTo" : "moveTo"](x + dx * radius, y + dy * radius));
    context.closePath();
  }
}

function draw() {
  if (!data) return;
  const scale = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const colors = new Map();
  const paper = getComputedStyle(document.documentElement).getPropertyValue("--card").trim();
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  const small = Math.max(1.6, Math.min(4, 90 / Math.sqrt(data.positions.length)));
  const paint = (index, isLabeled) => {
    const classId = data.classOf[index];
    if (!colors.has(classId)) colors.set(classId, color(classId));
    const [x, y] = place(index);
    const isDim = chosen !== null && classId !== chosen;
    context.globalAlpha = isDim ? 0.08 : isLabeled ? 1 : 0.3 + 0.6 * data.confidence[index];
    mark(context, classId < 0 ? 0 : (classId + Math.floor(classId / 8)) % 4, x, y, isLabeled ? small + 2.5 : small);
    context.fillStyle = colors.get(classId);
    context.fill();
    if (isLabeled) {
      context.lineWidth = 2.5;
      context.strokeStyle = paper;
      context.stroke();
      context.lineWidth = 1;
      context.strokeStyle = ink;
      context.stroke();
    }
  };
  data.positions.forEach((_, index) => labeled.has(index) || paint(index, false));
  labeled.forEach((index) => paint(index, true));
}

function nearest(event) {
  const box = canvas.getBoundingClientRect();
  const pointer = [event.clientX - box.left, event.clientY - box.top];
  let best = null;
  let distance = 14 ** 2;
  data.positions.forEach((_, index) => {
    if (chosen !== null && data.classOf[index] !== chosen) return;
    const [x, y] = place(index);
    const d = (x - pointer[0]) ** 2 + (y - pointer[1]) ** 2;
    if (d < distance) [best, distance] = [index, d];
  });
  return best;
}

canvas.addEventListener("pointermove", (event) => {
  if (!data) return;
  const index = nearest(event);
  canvas.style.cursor = index === null ? "" : "pointer";
  if (index === null) {
    caption.textContent = "";
    return;
  }
  const name = data.classes[data.classOf[index]];
  const role = labeled.has(index) ? "labeled" : `${Math.round(100 * data.confidence[index])} %`;
  caption.textContent = name ? `${data.captions[index]} — ${name} (${role})` : data.captions[index];
});

canvas.addEventListener("click", (event) => {
  const index = data && nearest(event);
  if (index !== null && index !== undefined) location.href = canvas.dataset.item + index;
});

document.querySelectorAll("[data-class]").forEach((button) =>
  button.addEventListener("click", () => {
    const classId = Number(button.dataset.class);
    chosen = chosen === classId ? null : classId;
    document.querySelectorAll("[data-class]").forEach((other) =>
      other.setAttribute("aria-pressed", String(chosen === Number(other.dataset.class))));
    draw();
  }));

new ResizeObserver(draw).observe(canvas);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
fetch(canvas.dataset.source).then((response) => response.json()).then((content) => {
  data = content;
  labeled = new Set(content.labeled);
  document.documentElement.dataset.map = "drawn";
  draw();
});
