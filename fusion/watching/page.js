"use strict";

// Texts are set as text, never as markup: names of steps and messages come from configs and models.
const at = (id) => document.getElementById(id);

function cell(kind, text) {
  const made = document.createElement("td");
  made.className = kind;
  made.textContent = text;
  return made;
}

function bar(share) {
  const made = cell("bar", "");
  if (share !== null) {
    const shown = document.createElement("progress");
    shown.value = share;
    made.append(shown);
  }
  return made;
}

function line(row) {
  const made = document.createElement("tr");
  made.className = row.status;
  made.append(cell("status", row.status), cell("name", row.name), cell("count", row.count), bar(row.share), cell("detail", row.detail));
  return made;
}

function note(text) {
  const made = document.createElement("li");
  made.textContent = text;
  return made;
}

function show(view) {
  document.title = `${view.run}: ${view.verdict}`;
  at("run").textContent = view.run;
  at("headline").textContent = view.headline;
  at("headline").className = view.verdict;
  at("advice").textContent = view.advice;
  at("advice").hidden = !view.advice;
  at("steps").replaceChildren(...view.rows.map(line));
  at("notices").replaceChildren(...view.notices.map(note));
}

async function look() {
  try {
    const answer = await fetch("state.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    show(await answer.json());
    at("lost").hidden = true;
  } catch (error) {
    at("lost").textContent = `This is how it was: ${error.message}. Is fusion status --serve still running?`;
    at("lost").hidden = false;
  }
  setTimeout(look, 1000);
}

look();
