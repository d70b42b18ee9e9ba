// What may be changed with the token: product, trigger, threshold, teaching in, undo.

import { ask } from "/page.js";

const LOOK = 500; // milliseconds between two looks at a change that runs
const byId = (id) => document.getElementById(id);
let secret = null; // of the session; null while nobody is logged in
let allowed = null; // what the configuration allows
let part = null; // that is looked at
let preview = null; // number of the preview of that part
let cards = [];

async function send(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(secret ? { "X-Session-Secret": secret } : {}) },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(10000),
    });
  } catch {
    throw new Error("No answer from the line; nothing was changed by this page as far as it knows.");
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) become(null);
  if (!answer.ok) throw new Error(sentence(said.words || `the line answers ${answer.status}`));
  return said;
}

function sentence(words) {
  const text = `${words[0].toUpperCase()}${words.slice(1)}`;
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function figure(value) {
  return value === null || value === undefined ? "unknown" : Number(value.toPrecision(4)).toString();
}

function problem(dialog, words) {
  dialog.querySelector(".problem").textContent = words;
}

function clear(dialog) {
  for (const one of dialog.querySelectorAll(".problem, .outcome")) one.textContent = "";
  for (const one of dialog.querySelectorAll(".said")) one.replaceChildren();
}

// Do something in a dialog, with its buttons off, and tell what went wrong.
async function attempt(dialog, work) {
  problem(dialog, "");
  const buttons = [...dialog.querySelectorAll("button.main")];
  for (const button of buttons) button.disabled = true;
  try {
    return await work();
  } catch (fault) {
    clear(dialog);
    problem(dialog, fault.message);
    return null;
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

// Sessions

function become(session) {
  secret = session;
  byId("log-in").hidden = secret !== null || !allowed;
  byId("log-out").hidden = secret === null;
  for (const card of cards) showButtons(card);
}

async function refresh() {
  try {
    const session = await ask("/session");
    become(session.open ? session.secret : null);
  } catch {
    become(null);
  }
}

export function showChanges(view) {
  const before = allowed;
  allowed = view.changes.allowed;
  if (before === null || before !== allowed) {
    if (allowed) refresh();
    else become(null);
  }
  cards = cards.filter((card) => card.root.isConnected);
  for (const card of cards) showButtons(card);
}

byId("log-in").addEventListener("click", () => {
  clear(byId("login"));
  byId("token").value = "";
  byId("login").showModal();
});

byId("log-out").addEventListener("click", async () => {
  await send("/logout", {}).catch(() => null);
  become(null);
});

byId("login").querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const dialog = byId("login");
  const done = await attempt(dialog, () => send("/login", { token: byId("token").value }));
  byId("token").value = "";
  if (done === null) return byId("token").focus();
  await refresh();
  dialog.close();
  if (part !== null && byId("part").open) showTeaching();
});

for (const button of document.querySelectorAll("dialog .close")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

// Buttons of a camera

export function offerChanges(card, view) {
  cards.push(card);
  const on = (name, work) => card.find(name).addEventListener("click", () => work(card.view, view()));
  on(".choose-product", openProducts);
  on(".set-threshold", openThreshold);
  on(".undo", openUndo);
  on(".trigger", async (camera) => {
    const button = card.find(".trigger");
    button.disabled = true;
    try {
      const done = await send("/trigger", { camera: camera.name });
      button.textContent = `Triggered ${done.number}`;
    } catch (fault) {
      button.textContent = fault.message;
    }
    setTimeout(() => {
      button.textContent = "Trigger";
      button.disabled = false;
    }, 1500);
  });
}

function showButtons(card) {
  if (!card.view) return;
  card.find(".buttons").hidden = secret === null;
  card.find(".trigger").hidden = !card.view.by_message;
  card.find(".choose-product").hidden = card.view.recipes.length < 2;
}

// Product

let camera = null; // that a dialog is about

function openProducts(one) {
  camera = one.name;
  const dialog = byId("product");
  clear(dialog);
  byId("product-title").textContent = `Product at camera ${one.name}`;
  byId("products").replaceChildren(
    ...one.recipes.map((recipe) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "product", value: recipe, checked: recipe === one.recipe });
      label.append(input, document.createTextNode(recipe + (recipe === one.recipe ? " (chosen now)" : "")));
      return label;
    }),
  );
  dialog.showModal();
}

byId("product").querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const dialog = byId("product");
  const recipe = dialog.querySelector("input:checked")?.value;
  if (await attempt(dialog, () => send("/product", { camera, recipe }))) dialog.close();
});

// Changes of a bundle: they run in a process of their own, and this waits for the end of one.

async function follow(begun, dialog, words) {
  const outcome = dialog.querySelector(".outcome");
  for (let now = begun; ; now = (await ask("/change").catch(() => now)) || now) {
    if (now.number !== begun.number) throw new Error("Another change has begun meanwhile; open this again.");
    if (now.state === "failed") throw new Error(sentence(now.words));
    if (now.state === "done") return now;
    outcome.textContent = `${words} (${Math.round(now.seconds)} s) ${now.words}`;
    await new Promise((done) => setTimeout(done, LOOK));
  }
}

// Rejects: "this was good"

export function openPart(reject, view) {
  part = { ...reject, why: view.changes.bundles || view.changes.teaching, allowed: view.changes.allowed };
  preview = null;
  const dialog = byId("part");
  clear(dialog);
  byId("part-title").textContent = `Part ${reject.trigger}: ${reject.verdict.replace("_", " ")}`;
  byId("part-reason").textContent = sentence(reject.reason || "no reason given");
  const score = reject.score && reject.verdict !== "defect" ? `Score ${reject.score} against a threshold of ${reject.threshold}. ` : "";
  const when = new Date(Date.parse(reject.triggered)).toLocaleString([], { dateStyle: "medium", timeStyle: "medium", hour12: false });
  byId("part-facts").textContent = `${score}Product ${reject.recipe}, camera ${reject.camera}, ${when}.`;
  const picture = byId("part-picture");
  picture.hidden = !reject.pictured;
  picture.alt = `Part ${reject.trigger} with its heat map`;
  if (reject.pictured) picture.src = `/rejects/picture?size=large&id=${encodeURIComponent(reject.id)}`;
  else picture.removeAttribute("src");
  byId("teach-reason").value = "";
  showTeaching();
  dialog.showModal();
}

function showTeaching() {
  const can = secret !== null && part.teachable && !part.why;
  byId("teaching").hidden = !can;
  byId("preview").hidden = false;
  byId("teach").hidden = true;
  let note = "";
  if (!can && part.verdict === "defect" && part.allowed) {
    note = part.why ? sentence(part.why) : secret === null ? "If this was a good part: log in to teach it in." : "The frame of this part is not kept.";
  }
  byId("part-note").hidden = !note;
  byId("part-note").textContent = note;
}

byId("preview").addEventListener("click", () => {
  const dialog = byId("part");
  clear(dialog);
  attempt(dialog, async () => {
    const begun = await send("/preview", { part: part.id, reason: byId("teach-reason").value });
    const done = await follow(begun, dialog, "Trying it out, nothing is changed yet");
    preview = done.number;
    dialog.querySelector(".outcome").textContent = "If you teach this part in:";
    list(dialog, effects(done.effect));
    byId("preview").hidden = true;
    byId("teach").hidden = false;
  }).then((done) => {
    if (done !== null) byId("teach").focus();
  });
});

byId("teach").addEventListener("click", () => {
  const dialog = byId("part");
  clear(dialog);
  attempt(dialog, async () => {
    const begun = await send("/teach", { part: part.id, reason: byId("teach-reason").value, preview });
    const done = await follow(begun, dialog, "Teaching it in");
    dialog.querySelector(".outcome").textContent = "Taught in. The line judges with it from the next parts on.";
    list(dialog, [`It took ${Math.round(done.seconds)} s. “Undo” at the camera takes it back.`]);
    byId("teach").hidden = true;
  }).then((done) => {
    if (done === null) byId("preview").hidden = false;
  });
});

function effects(effect) {
  const lines = [];
  const same = effect.before === effect.after;
  lines.push(
    same
      ? `The threshold stays at ${figure(effect.after)}, and so does its promise.`
      : `The threshold changes from ${figure(effect.before)} to ${figure(effect.after)}.`,
  );
  if (effect.recent) {
    const { parts, changed } = effect.recent;
    lines.push(
      changed.length
        ? `Of the last ${parts} kept parts, ${changed.length} would be judged differently:`
        : `Of the last ${parts} kept parts, none would be judged differently.`,
    );
    for (const one of changed.slice(0, 8)) {
      lines.push(`part ${one.trigger}: ${one.before.replace("_", " ")} → ${one.after.replace("_", " ")}`);
    }
    if (changed.length > 8) lines.push(`and ${changed.length - 8} more`);
  }
  lines.push(`From then on, parts are also compared with ${effect.taught === 1 ? "this image" : `these ${effect.taught} images`}.`);
  return lines;
}

function list(dialog, lines) {
  dialog.querySelector(".said").replaceChildren(
    ...lines.map((line) => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }),
  );
}

// Threshold

let choice = null; // recipe, and the thresholds to choose from

async function openThreshold(one, view) {
  const dialog = byId("threshold");
  clear(dialog);
  byId("threshold-title").textContent = `Threshold of product ${one.recipe}`;
  byId("stop-reason").value = "";
  dialog.showModal();
  if (view.changes.bundles) problem(dialog, sentence(view.changes.bundles));
  await attempt(dialog, () => loadThreshold(one.recipe));
  showStop();
}

async function loadThreshold(recipe) {
  choice = null;
  const answer = await ask(`/threshold?recipe=${encodeURIComponent(recipe)}`);
  choice = { recipe, ...answer };
  const slider = byId("stop");
  slider.max = choice.stops.length - 1;
  slider.value = choice.stops.findIndex((stop) => stop.in_force);
}

function showStop() {
  const button = byId("threshold").querySelector("button.main");
  button.disabled = true;
  if (choice === null) return;
  const stop = choice.stops[byId("stop").value];
  byId("stop-words").textContent = sentence(stop.words);
  byId("stop").setAttribute("aria-valuetext", `threshold ${stop.score}, ${stop.words}`);
  byId("stop-score").textContent = stop.score;
  byId("stop-force").textContent = stop.in_force ? "(in force)" : "";
  byId("stop-sentence").textContent = sentence(stop.sentence);
  byId("stop-changes").textContent = differences(stop, choice.parts);
  byId("stop-caution").textContent = choice.caution ? sentence(choice.caution) : "";
  button.disabled = stop.in_force || stop.rate === null;
}

function differences(stop, parts) {
  if (!parts) return "No part of this product has been judged yet.";
  const count = stop.to_good + stop.to_defect;
  const last = `Of the last ${parts.toLocaleString("en")} judged parts`;
  if (!count) return `${last}, none would be decided differently than with the threshold in force.`;
  const kinds = [stop.to_defect && `${stop.to_defect} rejected in place of passed`, stop.to_good && `${stop.to_good} passed in place of rejected`];
  return `${last}, ${count} would be decided differently than with the threshold in force: ${kinds.filter(Boolean).join(", ")}.`;
}

byId("stop").addEventListener("input", showStop);

byId("threshold").querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const dialog = byId("threshold");
  const stop = choice?.stops[byId("stop").value];
  if (!stop) return;
  await attempt(dialog, async () => {
    const begun = await send("/threshold", { recipe: choice.recipe, rate: stop.rate, reason: byId("stop-reason").value });
    await follow(begun, dialog, "Setting it");
    for (const one of choice.stops) one.in_force = one === stop;
    dialog.querySelector(".outcome").textContent = `Set to ${stop.score}. The line judges with it from the next parts on.`;
  });
  showStop();
});

// Undo

let undo = null; // recipe and manifest that are looked at

async function openUndo(one, view) {
  const dialog = byId("undoing");
  clear(dialog);
  undo = null;
  byId("undo-title").textContent = `Undo: product ${one.recipe}`;
  byId("undo-words").textContent = "Looking";
  byId("undo-next").textContent = "";
  byId("undo-reason").value = "";
  dialog.showModal();
  await attempt(dialog, () => loadUndo(one.recipe, view.changes.bundles));
  dialog.querySelector("button.main").disabled = undo === null;
}

async function loadUndo(recipe, why) {
  const now = await ask(`/generations?recipe=${encodeURIComponent(recipe)}`);
  undo = null;
  byId("undo-next").textContent = "";
  if (why) {
    byId("undo-words").textContent = sentence(why);
  } else if (now.parent === null) {
    byId("undo-words").textContent = "The bundle is as it was built; there is nothing to take back.";
  } else {
    undo = { recipe, manifest: now.manifest };
    const when = new Date(Date.parse(now.when)).toLocaleString([], { dateStyle: "medium", timeStyle: "short", hour12: false });
    const what = [now.verb, ...now.names].join(" ");
    byId("undo-words").textContent = sentence(
      `in force is generation ${now.number}: ${what}, by ${now.who}, ${when}${now.reason ? `: ${now.reason}` : ""}`,
    );
    byId("undo-next").textContent =
      `Generation ${now.parent}, from which it was made, comes into force again, byte for byte. Nothing is lost: the log keeps both.`;
  }
}

byId("undoing").querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const dialog = byId("undoing");
  if (undo === null) return;
  await attempt(dialog, async () => {
    const begun = await send("/undo", { ...undo, reason: byId("undo-reason").value });
    const done = await follow(begun, dialog, "Taking it back");
    dialog.querySelector(".outcome").textContent = `Taken back. Generation ${done.effect.generation} is in force, with a threshold of ${figure(done.effect.after)}.`;
    await loadUndo(undo.recipe, "");
  });
  dialog.querySelector("button.main").disabled = undo === null;
});
