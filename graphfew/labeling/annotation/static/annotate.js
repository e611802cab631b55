// Keyboard shortcuts, and forms without a reload. Without this script the pages still work.
"use strict";

const SUCCESS = "saved";
let busy = false;

function isTyping(target) {
  return target.matches("input:not([type=checkbox]):not([type=hidden]), select, textarea");
}

function announce() {
  const last = document.querySelector("[data-status] span");
  const progress = document.querySelector(".meter p");
  document.getElementById("status").textContent = [last && last.textContent, progress && progress.textContent]
    .filter(Boolean).join("; ");
}

// Replaces <main> by that of the response, and keeps the address in step.
async function show(response) {
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const main = page.getElementById("main");
  if (!main) {
    location.reload();
    return;
  }
  document.getElementById("main").replaceWith(main);
  document.querySelector("nav").replaceWith(page.querySelector("nav"));
  document.title = page.title;
  if (response.redirected) history.replaceState(null, "", response.url);
  main.focus({ preventScroll: true });
  document.documentElement.dataset.state = response.ok ? SUCCESS : "refused";
  prepare();
  announce();
}

async function submit(form, submitter) {
  if (busy) return;
  busy = true;
  const fields = new URLSearchParams(new FormData(form));
  if (submitter && submitter.name) fields.set(submitter.name, submitter.value);
  try {
    await show(await fetch(form.action, { method: "POST", body: fields }));
    document.getElementById("offline").hidden = true;
  } catch {
    document.getElementById("offline").hidden = false;
  } finally {
    busy = false;
  }
}

document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  event.preventDefault();
  submit(event.target, event.submitter);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.submit();
  if (event.target.matches(".tile input")) count();
});

document.addEventListener("input", (event) => {
  if (event.target.id === "other") explainOther(event.target);
});

// A new name makes a new class, which a typing mistake must not do unnoticed.
function explainOther(input) {
  const name = input.value.trim();
  const names = [...document.querySelectorAll("#classes option")].map((option) => option.value);
  const exists = names.includes(name);
  document.querySelector("[data-other]").textContent = name === "" || exists ? "Use" : "Add";
  document.getElementById("other-hint").textContent =
    name === "" || exists ? "" : `Adds the new class “${name}” with this item.`;
}

function count() {
  const tiles = [...document.querySelectorAll(".tile input")];
  const wrong = tiles.filter((tile) => tile.checked).length;
  const right = tiles.length - wrong;
  const text = document.querySelector("[data-count]");
  if (text) text.textContent = `Confirm ${right} item${right === 1 ? "" : "s"}` + (wrong ? `, ${wrong} wrong` : "");
}

function prepare() {
  count();
}

// Arrow keys move between the tiles of the grid.
function moveOnGrid(key) {
  const tiles = [...document.querySelectorAll(".tile input")];
  if (tiles.length === 0) return false;
  const position = tiles.indexOf(document.activeElement);
  const columns = getComputedStyle(document.querySelector(".grid")).gridTemplateColumns.split(" ").length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  const next = tiles[position < 0 ? 0 : position + step];
  if (next) next.focus();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") document.getElementById("main").focus();
    return;
  }
  if (event.key.startsWith("Arrow")) {
    if (moveOnGrid(event.key)) event.preventDefault();
    return;
  }
  const field = document.querySelector("#other, [data-focus-key=n]");
  if (event.key.toLowerCase() === "n" && field) {
    event.preventDefault();
    field.focus();
    return;
  }
  let key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "Enter") {
    // On a link or a button, Enter does what it always does.
    if (event.target.closest("a, button, summary")) return;
    if (!document.querySelector("[data-key=Enter]")) key = "1";
  }
  const button = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (button && !button.disabled && !event.repeat) {
    event.preventDefault();
    button.click();
  }
});

prepare();
