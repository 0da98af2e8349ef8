// The page is drawn on the server; this sends what is typed and puts the answers in their place.
"use strict";

const RESCORE_AFTER = 200; // ms of quiet after a key
const EXPLAIN_AFTER = 900;
const form = document.getElementById("draft");
const announce = document.getElementById("announce");
const original = form.dataset.picture;
let picture = original || null;
let scoring = null;
let changes = 0; // counts edits, so that late answers to earlier ones are dropped
let scoreTimer, explainTimer;

function draft() {
  const found = { row: Number(form.dataset.row), domain: "", texts: {}, attributes: {}, picture };
  for (const input of form.querySelectorAll("[data-role]")) {
    if (input.dataset.role === "domain") found.domain = input.value;
    else found[input.dataset.role + "s"][input.dataset.column] = input.value;
  }
  return found;
}

async function ask(path, content, signal) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
    signal,
  });
  const html = answer.headers.get("Content-Type").startsWith("text/html");
  const text = await answer.text();
  return html ? text : messageAs(text);
}

function messageAs(text) {
  const line = document.createElement("p");
  line.className = "error";
  line.textContent = text;
  return line.outerHTML;
}

function put(place, html) {
  place.innerHTML = html; // drawn by the server, which escapes what it was sent
  const said = place.querySelector("[data-said]");
  if (said) announce.textContent = said.dataset.said;
}

async function rescore() {
  scoring?.abort();
  scoring = new AbortController();
  try {
    put(document.getElementById("score"), await ask("/score", { draft: draft() }, scoring.signal));
  } catch (error) {
    if (error.name !== "AbortError") lost(document.getElementById("score"));
  }
}

function lost(place) {
  put(place, messageAs("The dashboard does not answer; is it still running? Reload the page."));
}

async function explainAll() {
  const asked = changes;
  const places = [...document.querySelectorAll("[data-explains]")];
  places.sort((a, b) => (a.dataset.explains === "image") - (b.dataset.explains === "image"));
  for (const place of places) {
    place.setAttribute("aria-busy", "true");
    try {
      const html = await ask("/explain", { draft: draft(), modality: place.dataset.explains });
      if (asked !== changes) return; // the later edit explains itself
      put(place, html);
    } catch {
      lost(place);
    }
    place.setAttribute("aria-busy", "false");
    showSides();
  }
}

function changed() {
  changes += 1;
  clearTimeout(scoreTimer);
  clearTimeout(explainTimer);
  scoreTimer = setTimeout(rescore, RESCORE_AFTER);
  explainTimer = setTimeout(explainAll, EXPLAIN_AFTER);
}

function showPicture(reference, said) {
  picture = reference;
  const thumb = document.getElementById("thumb");
  thumb.hidden = !reference;
  if (reference) thumb.src = "/pictures/" + reference;
  document.getElementById("no-picture").hidden = Boolean(reference);
  document.getElementById("picture-said").textContent = said;
  document.getElementById("upload-error").replaceChildren();
}

async function upload(file) {
  const place = document.getElementById("upload-error");
  place.replaceChildren();
  try {
    const answer = await fetch("/pictures", {
      method: "POST",
      headers: {
        "Content-Type": "application/octet-stream",
        "X-File-Name": encodeURIComponent(file.name),
      },
      body: file,
    });
    if (!answer.ok) return put(place, await answer.text());
    const kept = await answer.json();
    showPicture(kept.picture, kept.said);
    changed();
  } catch {
    lost(place);
  }
}

function showSides() {
  const side = document.querySelector("input[name=side]:checked")?.value;
  const opacity = document.getElementById("opacity")?.value;
  for (const overlay of document.querySelectorAll(".overlay")) {
    overlay.hidden = side !== "both" && side !== overlay.dataset.side;
    overlay.style.opacity = opacity / 100;
  }
  const under = document.querySelector(".stack .under");
  if (under) under.style.filter = `grayscale(${Math.min(1, opacity / 50)})`; // two colours, no more
}

async function predictEdit(edit) {
  const place = document.getElementById("change");
  try {
    put(place, await ask("/what-if", { draft: draft(), edit }));
  } catch {
    lost(place);
  }
}

function paintOver(row, column) {
  const cells = document.getElementById("edit-cell");
  cells.elements.row.value = row;
  cells.elements.column.value = column;
  cells.requestSubmit();
  document.getElementById("heading-change").scrollIntoView();
}

form.addEventListener("input", (event) => {
  if (event.target.dataset.role) changed();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => {
  showPicture(original || null, "");
  document.getElementById("change").replaceChildren();
  setTimeout(changed); // after the fields have their values back
});
form.querySelector("[data-role=domain]")?.addEventListener("change", async () => {
  put(document.getElementById("advice"), await ask("/advice", { draft: draft() }));
});
document.getElementById("upload").addEventListener("change", (event) => {
  if (event.target.files.length) upload(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
document.getElementById("no-picture-button").addEventListener("click", () => {
  showPicture(null, "");
  changed();
});
document.querySelector(".saliency-controls")?.addEventListener("input", showSides);

document.getElementById("edit-text")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const sent = new FormData(event.target);
  predictEdit({
    kind: "text",
    column: sent.get("column"),
    phrase: sent.get("phrase"),
    replacement: sent.get("replacement"),
  });
});
document.getElementById("edit-cell")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const sent = new FormData(event.target);
  predictEdit({ kind: "cell", row: sent.get("row") - 1, column: sent.get("column") - 1 });
});

document.addEventListener("click", (event) => {
  const stack = event.target.closest(".stack");
  if (stack) {
    const box = stack.getBoundingClientRect();
    const at = (share, count) => Math.min(Math.floor(share * count) + 1, Number(count));
    return paintOver(
      at((event.clientY - box.top) / box.height, stack.dataset.rows),
      at((event.clientX - box.left) / box.width, stack.dataset.columns),
    );
  }
  const button = event.target.closest("button");
  if (!button) return;
  const { paintRow, paintColumn, phrase, replacement, apply, text } = button.dataset;
  const edit = document.getElementById("edit-text");
  if (paintRow) {
    paintOver(paintRow, paintColumn);
  } else if (replacement !== undefined && edit) {
    edit.elements.replacement.value = replacement;
    edit.elements.phrase.focus();
  } else if (phrase !== undefined && edit) {
    edit.elements.phrase.value = phrase;
    edit.elements.replacement.focus();
  } else if (apply) {
    const area = form.querySelector(`textarea[data-column="${CSS.escape(apply)}"]`);
    area.value = text;
    area.focus();
    changed();
  }
});

explainAll();
