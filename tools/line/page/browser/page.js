// Shows the line. Everything that comes from it is put in as text, never as markup.

import { hoursChart, scoresChart, WORDS } from "/charts.js";
import { offerChanges, openPart, showChanges } from "/changes.js";

const EVERY = 1000; // milliseconds between two looks at the line
const OLD = 3000; // milliseconds without an answer after which a picture must not be taken for a live one
const PATIENCE = 2500; // milliseconds that an answer may take
const STATES = { well: "works", troubled: "fault", hung: "hangs" };

const whole = new Intl.NumberFormat("en");
const byId = (id) => document.getElementById(id);
const cameras = new Map(); // name to its card and what it shows
let answered = performance.now(); // when the line last answered
let view = null; // its last answer
let rejected = null; // number of rejects when they were last asked for

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function ago(seconds) {
  if (seconds < 1.5) return "now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}

export const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });

export async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
  if (!answer.ok) throw new Error(`the line answers ${answer.status}`);
  return answer.json();
}

// Cameras

function card(name) {
  const root = byId("camera").content.firstElementChild.cloneNode(true);
  const find = (selector) => root.querySelector(selector);
  const made = { root, find, name, picture: null, wanted: null, late: null, heat: find(".heat input"), drawn: "" };
  put(find(".name"), name);
  root.dataset.camera = name;
  made.heat.addEventListener("change", () => {
    made.wanted = null;
    if (made.view) showPart(made, made.view.shown);
  });
  offerChanges(made, () => view);
  return made;
}

function showCameras() {
  const names = view.cameras.map((camera) => camera.name);
  for (const [name, one] of cameras) {
    if (!names.includes(name)) {
      one.root.remove();
      cameras.delete(name);
    }
  }
  for (const camera of view.cameras) {
    if (!cameras.has(camera.name)) {
      cameras.set(camera.name, card(camera.name));
      byId("cameras").append(cameras.get(camera.name).root);
    }
    showCamera(cameras.get(camera.name), camera);
  }
}

function showCamera(one, camera) {
  const { find } = one;
  one.view = camera;
  const health = find(".health");
  health.dataset.state = camera.state;
  put(health, camera.words ? `Camera ${STATES[camera.state]}: ${camera.words}` : `Camera ${STATES[camera.state]}`);
  put(find(".recipe"), `Product ${camera.recipe}`);
  for (const verdict of Object.keys(WORDS)) put(find(`dd.${verdict}`), whole.format(camera.counts[verdict] || 0));
  put(find("dd.rejected"), whole.format(camera.rejected));
  const { p50, p99, longest } = camera.milliseconds;
  const due = camera.deadline_ms === null ? "" : ` of ${whole.format(camera.deadline_ms)} ms allowed`;
  put(
    find(".times .words"),
    p50 === null ? "no decision yet" : `typical ${ms(p50)}, 99 % within ${ms(p99)}, longest ${ms(longest)}${due}`,
  );
  put(find(".certificate"), `Threshold: ${camera.certificate}. Bundle ${camera.bundle}.`);
  find(".drift").hidden = !camera.drift;
  put(find(".drift"), camera.drift);
  const drawn = JSON.stringify([camera.hours, camera.histogram, Math.floor(view.at / 3600)]);
  if (drawn !== one.drawn) {
    one.drawn = drawn;
    find(".hours").replaceChildren(hoursChart(camera.hours, view.at));
    find(".scores").replaceChildren(scoresChart(camera.histogram));
  }
  showPart(one, camera.shown);
}

const ms = (value) => `${value < 10 ? value.toFixed(1) : whole.format(Math.round(value))} ms`;

// A part appears with its picture, never a verdict beside the picture of another part. Where pictures are slow, each is
// shown that is newer than the last, and the card is old once none has come for too long.
function showPart(one, part) {
  const { find } = one;
  if (part === null) return;
  const wanted = `/picture?camera=${encodeURIComponent(one.name)}&number=${part.picture}&heat=${Number(one.heat.checked)}`;
  if (wanted === one.wanted) return;
  one.wanted = wanted;
  one.late ??= performance.now();
  if (!part.pictured) {
    find(".picture img").hidden = true;
    put(find(".picture .none"), "No frame of this part");
    appeared(one, part, wanted);
    return;
  }
  const fresh = new Image();
  fresh.alt = `Part ${part.trigger} at camera ${one.name}`;
  fresh.src = wanted;
  fresh.decode().then(
    () => {
      if (one.picture !== null && (part.picture < one.picture || (part.picture === one.picture && one.wanted !== wanted))) return;
      find(".picture img").replaceWith(fresh);
      put(find(".picture .none"), "");
      appeared(one, part, wanted);
    },
    () => {
      if (one.wanted === wanted) one.wanted = null; // the next answer tries again
    },
  );
}

function appeared(one, part, wanted) {
  one.picture = part.picture;
  one.late = one.wanted === wanted ? null : performance.now();
  showVerdict(one, part);
}

function showVerdict(one, part) {
  const { find } = one;
  one.part = part;
  const box = find(".verdict");
  box.dataset.verdict = part.verdict;
  put(find(".word"), WORDS[part.verdict].toUpperCase());
  put(find(".gate"), `Gate: ${part.gate}`);
  put(find(".reason"), part.reason ? `Part ${part.trigger}: ${part.reason}` : `Part ${part.trigger}`);
  put(find(".score .value"), part.score || "–");
  put(find(".score .of"), part.threshold ? `against a threshold of ${part.threshold}` : "was not judged");
  find(".bar").hidden = part.share === null;
  find(".mark").style.left = `${100 * (part.share ?? 0)}%`;
  put(find(".score .p"), part.p ? `${part.p[0].toUpperCase()}${part.p.slice(1)}.` : "");
  showAge(one);
}

function showAge(one) {
  if (!one.part || !view) return;
  const now = view.at + (performance.now() - answered) / 1000;
  const part = one.part;
  put(
    one.find(".part"),
    `${time(part.decided)}, ${ago(now - part.decided)}; decided in ${ms(part.milliseconds)}; product ${part.recipe}`,
  );
}

// What is wrong, outputs, rejects

function attention(worst) {
  if (worst.level === "bad") return "The line is in trouble";
  return view.troubles.length === 1 ? "One thing to look at" : `${view.troubles.length} things to look at`;
}

function showTroubles() {
  const worst = view.troubles[0];
  const summary = byId("summary");
  summary.dataset.state = worst ? worst.level : "well";
  const more = view.troubles.length - 1;
  put(summary, worst ? attention(worst) : "All is well");
  const list = byId("troubles");
  list.hidden = !worst;
  const words = JSON.stringify(view.troubles);
  if (list.dataset.words === words) return;
  list.dataset.words = words;
  list.replaceChildren(
    ...view.troubles.slice(0, 6).map((trouble) => {
      const item = document.createElement("li");
      item.dataset.level = trouble.level;
      item.textContent = trouble.words;
      return item;
    }),
  );
  if (more > 5) {
    const item = document.createElement("li");
    item.textContent = `and ${more - 5} more`;
    list.append(item);
  }
}

function showOutputs() {
  byId("outputs-none").hidden = view.outputs.length > 0;
  byId("outputs-rows").replaceChildren(
    ...view.outputs.map((output) => {
      const row = document.createElement("tr");
      const state = output.words ? `${STATES[output.state]} since ${time(output.since)}: ${output.words}` : STATES[output.state];
      const values = [output.name, output.kind.replace("_", " "), state];
      for (const value of [...values, output.sent, output.waiting, output.lost]) {
        const cell = document.createElement("td");
        cell.textContent = typeof value === "number" ? whole.format(value) : value;
        if (typeof value === "number") cell.className = "number";
        row.append(cell);
      }
      row.children[2].dataset.state = output.state;
      ["Sent", "Waiting", "Lost"].forEach((label, i) => (row.children[3 + i].dataset.label = label));
      return row;
    }),
  );
}

async function showRejects() {
  const note = byId("rejects-note");
  let found;
  try {
    found = await ask("/rejects");
  } catch {
    rejected = null; // ask again with the next answer
    put(note, "The rejects cannot be read just now.");
    note.hidden = false;
    return;
  }
  put(note, "None in the last 24 hours.");
  note.hidden = found.length > 0;
  const list = byId("rejects-list");
  const there = new Map([...list.children].map((item) => [item.dataset.id, item]));
  // What stays is not moved, so that it keeps the focus.
  const ids = new Set(found.map((reject) => reject.id));
  for (const [id, item] of there) if (!ids.has(id)) item.remove();
  found.forEach((reject, i) => {
    const item = there.get(reject.id) || rejectItem(reject);
    if (list.children[i] !== item) list.insertBefore(item, list.children[i] || null);
  });
  put(byId("rejects-all"), list.classList.contains("all") ? "Show fewer" : `Show all ${found.length}`);
  byId("rejects-all").hidden = found.length <= 6;
}

byId("rejects-all").addEventListener("click", () => {
  byId("rejects-list").classList.toggle("all");
  showRejects();
});

function rejectItem(reject) {
  const item = byId("reject").content.firstElementChild.cloneNode(true);
  item.dataset.id = reject.id;
  const word = item.querySelector(".verdict-word");
  word.dataset.verdict = reject.verdict;
  word.textContent = WORDS[reject.verdict] || reject.verdict;
  item.querySelector(".what").textContent = reject.score ? `score ${reject.score} over ${reject.threshold}` : reject.reason;
  item.querySelector(".when").textContent = `${time(Date.parse(reject.triggered) / 1000)}, ${reject.camera}`;
  if (reject.pictured) {
    const image = item.querySelector("img");
    image.alt = `Part ${reject.trigger}`;
    image.addEventListener("load", () => {
      image.hidden = false;
      item.querySelector(".none").hidden = true;
    });
    image.src = `/rejects/picture?id=${encodeURIComponent(reject.id)}`;
  }
  item.querySelector("button").addEventListener("click", () => openPart(reject, view));
  return item;
}

// Old pictures

function watch() {
  const silence = performance.now() - answered;
  const old = silence > OLD;
  const stale = old || (view !== null && view.silent);
  document.body.classList.toggle("stale", stale);
  const alarm = byId("alarm");
  if (old) put(alarm, `No answer from the line for ${Math.round(silence / 1000)} s. What you see is old.`);
  alarm.hidden = !old;
  if (old) {
    byId("summary").dataset.state = "bad";
    put(byId("summary"), "No answer");
  }
  for (const one of cameras.values()) {
    one.root.classList.toggle("stale", one.late !== null && performance.now() - one.late > OLD);
    showAge(one);
  }
}

function showLine() {
  put(byId("line"), view.line);
  document.title = `${view.troubles.some((one) => one.level === "bad") ? "⚠ " : ""}${view.line}`;
  put(byId("clock"), new Date(view.at * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "medium", hour12: false }));
  const since = new Date(view.started * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short", hour12: false });
  put(byId("about"), `spade-edge ${view.software}, counting since ${since}`);
  showTroubles();
  showCameras();
  showOutputs();
  showChanges(view);
  if (view.rejected !== rejected) {
    rejected = view.rejected;
    showRejects();
    setTimeout(showRejects, 2500); // the evidence writes a moment later
  }
}

async function look() {
  try {
    view = await ask("/line");
    answered = performance.now();
    showLine();
  } catch (problem) {
    if (view === null) put(byId("summary"), "No answer yet");
  } finally {
    watch();
    setTimeout(look, EVERY);
  }
}

setInterval(watch, 250);
look();
