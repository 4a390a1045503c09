"use strict";
const el = id => document.getElementById(id);
const make = (tag, text) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  return node;
};
const endpoint = path => new URL("v1/" + path, document.baseURI);
const models = new Map();  // what each can tell
let chosen = null;  // a file that was dropped
let running = null;  // what stops the request
let done = null;  // the last event

// The models, and the key --------------------------------------------------------------------

const authorization = () => (el("key").value ? { Authorization: "Bearer " + el("key").value } : {});

async function loadModels() {
  const response = await fetch(endpoint("models"), { headers: authorization() });
  el("locked").hidden = el("locked").hidden && response.status !== 401;
  if (response.status === 401) throw new Error("This server asks for a key.");
  if (!response.ok) throw new Error(await problemOf(response));
  for (const model of (await response.json()).data) {
    if (!models.has(model.id)) el("model").append(make("option", model.id));
    models.set(model.id, model.timestamp_granularities);
  }
}

async function problemOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return "The server answered with status " + response.status + ".";
  }
}

// The recording ------------------------------------------------------------------------------

function choose(file) {
  chosen = file;
  el("file").required = !file;
  if (file) say("Chosen: " + file.name);
}
el("file").addEventListener("change", () => choose(null));
document.addEventListener("dragover", event => {
  event.preventDefault();
  document.body.classList.add("over");
});
for (const name of ["dragleave", "drop"]) {
  document.addEventListener(name, () => document.body.classList.remove("over"));
}
document.addEventListener("drop", event => {
  event.preventDefault();
  const file = event.dataTransfer.files[0];
  if (!file || running) return;
  choose(file);
  transcribe();
});
el("form").addEventListener("submit", event => {
  event.preventDefault();
  if (!running) transcribe();
});
el("stop").addEventListener("click", () => running && running.abort());

// The request --------------------------------------------------------------------------------

async function transcribe() {
  const file = chosen || el("file").files[0];
  begin(file);
  try {
    if (!models.size) await loadModels();
    const response = await fetch(endpoint("audio/transcriptions"), {
      method: "POST", body: asked(file), headers: authorization(), signal: running.signal,
    });
    if (response.status === 401) el("locked").hidden = false;
    if (!response.ok) throw new Error(await problemOf(response));
    for await (const event of events(response.body)) show(event);
    if (!done) throw new Error("The server broke off before the end.");
    say(done.note || (done.text ? "Done." : "Nothing was said in it."));
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else fail(error instanceof TypeError ? "The server cannot be reached." : error.message);
  } finally {
    end();
  }
}

function asked(file) {
  const form = new FormData(), model = el("model").value;
  form.append("model", model);
  for (const term of el("terms").value.split(/[,\n]/)) {
    if (/[\p{L}\p{N}]/u.test(term)) form.append("keywords[]", term.trim());
  }
  form.append("response_format", "verbose_json");
  for (const name of models.get(model)) form.append("timestamp_granularities[]", name);
  form.append("stream", "true");
  form.append("file", file);
  return form;
}

async function* events(body) {
  let text = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done: over } = await reader.read();
    if (over) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const content = block.replace(/^data: /, "");
      if (content !== "[DONE]") yield JSON.parse(content);
    }
  }
}

function begin(file) {
  running = new AbortController();
  done = null;
  const byKey = document.activeElement === el("go");
  el("stop").hidden = false;
  if (byKey) el("stop").focus();
  el("go").disabled = el("srt").disabled = el("txt").disabled = true;
  el("result").hidden = true;
  el("text").replaceChildren();
  el("problem").textContent = "";
  if (el("player").src) URL.revokeObjectURL(el("player").src);
  el("player").src = URL.createObjectURL(file);
  say("Transcribing " + file.name + " …");
}

function end() {
  running = null;
  el("go").disabled = false;
  if (document.activeElement === el("stop")) (el("result").hidden ? el("go") : el("heading")).focus();
  el("stop").hidden = true;
}

function show(event) {
  if (event.error) throw new Error(event.error.message);
  if (event.type === "transcript.text.segment") {
    el("result").hidden = false;
    el("text").append(line(event));
    mark();
  }
  if (event.type === "transcript.text.done") {
    done = event;
    el("srt").disabled = el("txt").disabled = false;
    const told = Boolean(event.words);
    el("threshold").hidden = !told;
    el("legend").hidden = !told && !document.querySelector("mark");
  }
}

// The text -----------------------------------------------------------------------------------

function line(segment) {
  const item = make("li"), text = make("span");
  const shown = segment.text.split(/\s+/).filter(Boolean);
  const known = (segment.words || []).length === shown.length ? segment.words : null;
  const spans = shown.map((word, i) => {
    const span = make("span", word);
    if (known && known[i].confidence !== null) {
      span.dataset.confidence = known[i].confidence;
      span.dataset.start = known[i].start;
    }
    return span;
  });
  const first = new Map(segment.listed.map(([start, stop]) => [start, stop]));
  for (let i = 0; i < spans.length;) {
    const stop = first.get(i) || i + 1;
    const place = first.has(i) ? make("mark") : text;
    for (let j = i; j < stop; j++) place.append(...(j > i ? [" "] : []), spans[j]);
    if (place !== text) text.append(place);
    text.append(" ");
    i = stop;
  }
  item.append(make("time", clock(segment.start)), text);
  return item;
}

function mark() {
  const least = el("sure").value / 100;
  el("percent").textContent = el("sure").value + "%";
  for (const span of document.querySelectorAll("[data-confidence]")) {
    const unsure = span.dataset.confidence < least;
    const percent = Math.round(100 * span.dataset.confidence) + "%";
    span.classList.toggle("unsure", unsure);
    for (const [name, value] of [
      ["role", "button"], ["tabindex", "0"], ["title", percent + " sure"],
      ["aria-label", span.textContent + ", " + percent + " sure"],
    ]) {
      if (unsure) span.setAttribute(name, value);
      else span.removeAttribute(name);
    }
  }
}
el("sure").addEventListener("input", mark);

function hear(event) {
  const word = event.target.closest(".unsure[data-start]");
  if (!word || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  el("player").currentTime = Math.max(0, word.dataset.start - 0.3);
  el("player").play().catch(() => say("This browser cannot play that recording."));
}
el("text").addEventListener("click", hear);
el("text").addEventListener("keydown", hear);

function clock(seconds) {
  const whole = Math.floor(seconds), two = number => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return (hours ? hours + ":" : "") + two(Math.floor(whole / 60) % 60) + ":" + two(whole % 60);
}

function download(suffix, content) {
  const file = chosen || el("file").files[0], link = make("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "text/plain;charset=utf-8" }));
  link.download = (file ? file.name.replace(/\.[^.]*$/, "") : "transcript") + suffix;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
el("srt").addEventListener("click", () => download(".srt", done.srt));
el("txt").addEventListener("click", () => download(".txt", done.text + "\n"));

function say(text) {
  el("status").textContent = text;
}

function fail(text) {
  say("");
  el("problem").textContent = text;
}

el("key").addEventListener("change", () => loadModels().then(() => fail(""), e => fail(e.message)));
loadModels().catch(error => fail(error instanceof TypeError ? "The server cannot be reached." : error.message));
