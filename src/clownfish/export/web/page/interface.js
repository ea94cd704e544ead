// The page itself: photos in by four ways, one card a photo, and the table out. Labels and file names are only ever set
// as text, never as markup.

import { startPool } from "./pool.js";
import { formatTable } from "./table.js";

const FOR = [232, 101, 15]; // as in the report
const AGAINST = [20, 110, 200];
const STRONGEST = 0.85;
const AHEAD = "300px"; // what is so near to the screen is prepared
const BOX = 4 / 3; // width to height of the place for a photo

const find = (id) => document.getElementById(id);
const facts = JSON.parse(find("facts").textContent);
const allTexts = JSON.parse(find("texts").textContent);
const language = navigator.languages.map((wanted) => wanted.slice(0, 2)).find((wanted) => wanted in allTexts) ?? "en";
const texts = allTexts[language];
const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
const answers = [];
const counts = {};
const shown = new Map(); // card to file and answer
let pool = null;

function write(name, values = {}) {
  return texts[name].replace(/\{(\w+)\}/g, (_, key) => String(values[key]));
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function setStatus(answer, status) {
  if (answer.status) counts[answer.status] -= 1;
  answer.status = status;
  counts[status] = (counts[status] ?? 0) + 1;
}

// ---- the texts of the page

function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = write(element.dataset.text);
  find("photos").setAttribute("aria-label", texts.results);
  const { accuracy, certificate, max_error: maxError } = facts;
  const lines = [];
  if (accuracy) {
    const [share, low, high] = [accuracy.value, accuracy.low, accuracy.high].map((value) => percent.format(value));
    lines.push(write("accuracy", { share, low, high }));
  }
  if (maxError !== null) lines.push(write("budget", { share: percent.format(maxError) }));
  if (certificate.certified) lines.push(write("certified", certificate));
  else find("warning").textContent = write("not_certified", { reasons: certificate.reasons.join("; ") });
  find("warning").hidden = certificate.certified;
  lines.push(texts.privacy, write("made", facts));
  find("facts-shown").replaceChildren(...lines.map((line) => make("p", "", line)));
  find("knows").textContent = write("knows", { number: facts.labels.length });
  find("labels").replaceChildren(...facts.labels.map((label) => make("li", "", label)));
  find("licence-text").textContent = write("licence_text", { version: facts.runtime });
}

// ---- photos in

function addFiles(files) {
  for (const file of files) {
    const answer = { file: file.webkitRelativePath || file.name };
    setStatus(answer, "waiting");
    answers.push(answer);
    const card = makeCard(answer);
    find("photos").append(card);
    shown.set(card, { file, answer });
    if (pool) answerCard(card);
  }
  if (answers.length) find("results").hidden = false;
  find("drop").classList.toggle("small", answers.length > 0);
  showProgress();
}

function listen() {
  for (const input of [find("chosen"), find("taken")]) {
    input.addEventListener("change", () => {
      addFiles(input.files);
      input.value = "";
    });
  }
  find("choose").addEventListener("click", () => find("chosen").click());
  find("camera").addEventListener("click", () => find("taken").click());
  find("camera").hidden = !matchMedia("(pointer: coarse)").matches;
  addEventListener("dragover", (event) => {
    event.preventDefault();
    find("drop").classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) find("drop").classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    find("drop").classList.remove("over");
    addFiles(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => addFiles(event.clipboardData.files));
  find("looks").addEventListener("change", () => {
    find("photos").classList.toggle("looking", find("looks").checked);
    find("legend").hidden = !find("looks").checked;
    for (const card of shown.keys()) watch(card);
  });
  find("save").addEventListener("click", saveTable);
  find("clear").addEventListener("click", clear);
  for (const button of document.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => {
      find("photos").dataset.shown = button.dataset.show;
      for (const other of document.querySelectorAll("[data-show]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
    });
  }
}

function clear() {
  for (const image of document.querySelectorAll("#photos img")) URL.revokeObjectURL(image.src);
  answers.length = 0;
  for (const status of Object.keys(counts)) counts[status] = 0;
  pool?.clear();
  near.disconnect();
  shown.clear();
  find("photos").replaceChildren();
  find("results").hidden = true;
  find("drop").classList.remove("small");
  find("state").textContent = texts.ready;
  find("choose").focus();
}

function saveTable() {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([formatTable(answers, facts.labels)], { type: "text/csv" }));
  link.download = "predictions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// ---- the work, done by the pool

async function answerCard(card) {
  const { file, answer } = shown.get(card);
  const found = await pool.ask(file);
  if (!shown.has(card)) return; // removed in the meantime
  const { status = "unusable", ...facts } = found;
  if (facts.probabilities) Object.assign(answer, facts);
  else answer.note = "not a photo that this browser can read";
  setStatus(answer, status);
  showAnswer({ file, answer, card });
  showProgress();
  watch(card);
}

/** Where the network looks is found only for photos that somebody wants to see, and then kept. */
const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) locate(target);
  },
  { rootMargin: AHEAD },
);

function watch(card) {
  const isWanted = find("looks").checked && shown.get(card).answer.order?.length > 1 && !card.querySelector(".heat");
  if (isWanted) near.observe(card);
  else near.unobserve(card);
}

async function locate(card) {
  near.unobserve(card);
  const { file, answer } = shown.get(card);
  const { map } = await pool.ask(file, answer.order.slice(0, 2));
  if (map && shown.has(card) && !card.querySelector(".heat")) showPlaces(answer, card, map);
}

// ---- what is shown

function makeCard({ file }) {
  const card = make("li", "card waiting");
  card.dataset.file = file;
  const box = make("div", "box");
  const text = make("div", "text");
  text.append(make("p", "file", file));
  card.append(box, text);
  return card;
}

function showAnswer({ file, answer, card }) {
  card.className = `card ${answer.status.split(" ")[0]}`;
  card.dataset.status = answer.status;
  const text = card.querySelector(".text");
  const name = make("p", "file", answer.file);
  if (!answer.probabilities) {
    text.replaceChildren(make("p", "status", texts.unusable), make("p", "note", texts.unusable_note), name);
    return;
  }
  const [first] = answer.order;
  const label = facts.labels[first];
  card.dataset.label = label;
  card.dataset.probability = answer.probabilities[first];
  card.dataset.milliseconds = answer.milliseconds.map((time) => time.toFixed(1)).join(" ");
  const heading = make("h3", "label", "");
  for (const word of label.match(/[^_]*_|[^_]+/g)) heading.append(word, make("wbr")); // where a long name may be broken
  const parts = [heading];
  if (answer.status !== "ok") {
    const kind = answer.status === "unsure" ? "unsure" : "unlike";
    parts.unshift(make("p", "status", texts[kind]), make("p", "note", texts[`${kind}_note`]));
  }
  parts.push(makeBar(answer.probabilities[first]));
  if (answer.candidates.length > 1) {
    const names = answer.candidates.map((number) => facts.labels[number]).join(", ");
    parts.push(make("p", "note", write("possible", { names })));
  }
  text.replaceChildren(...parts, name);
  showPhoto(file, answer, card);
}

/** Nothing is certain: what would be rounded to 100 % is said to be more than 99.9 %. */
function writeShare(share) {
  return share < 0.9995 ? percent.format(share) : `> ${percent.format(0.999)}`;
}

function makeBar(probability) {
  const row = make("div", "certainty");
  const meter = make("span", "bar");
  const filled = make("span", "filled");
  filled.style.width = `${100 * probability}%`;
  meter.setAttribute("aria-hidden", "true");
  meter.append(filled);
  row.append(meter, make("span", "number", writeShare(probability)));
  return row;
}

function showPhoto(file, answer, card) {
  const box = card.querySelector(".box");
  const frame = make("div", "frame");
  const ratio = answer.width / answer.height;
  frame.style.width = `${Math.min(1, ratio / BOX) * 100}%`;
  frame.style.aspectRatio = String(ratio);
  const image = make("img");
  image.decoding = "async";
  image.src = URL.createObjectURL(answer.preview ?? file);
  image.alt = write("photo_of", { file: answer.file });
  image.draggable = false;
  frame.append(image);
  box.replaceChildren(frame);
  delete answer.preview;
}

function showPlaces(answer, card, map) {
  const frame = card.querySelector(".frame");
  const heat = drawHeat(map);
  placeHeat(heat, answer.width / answer.height);
  frame.append(heat);
  frame.title = write("legend", { second: facts.labels[answer.order[1]] });
}

/** The map lies on what the network saw: all of the photo, its central square, or a square around it. */
function placeHeat(heat, ratio) {
  const longer = ratio > 1 ? "width" : "height";
  const shorter = ratio > 1 ? "height" : "width";
  const elongation = Math.max(ratio, 1 / ratio);
  if (facts.preprocessing.resize === "crop") {
    heat.style[longer] = `${100 / elongation}%`;
    heat.style[shorter] = "100%";
  } else if (facts.preprocessing.resize === "pad") {
    heat.style[longer] = "100%";
    heat.style[shorter] = `${100 * elongation}%`;
  } else {
    heat.style.width = heat.style.height = "100%";
  }
}

function drawHeat(map) {
  const { side } = facts.maps;
  const heat = make("canvas", "heat");
  heat.width = heat.height = side;
  heat.setAttribute("aria-hidden", "true");
  const context = heat.getContext("2d");
  const image = context.createImageData(side, side);
  const strongest = Math.max(...map.map(Math.abs), 1e-12);
  map.forEach((value, place) => {
    const strength = (STRONGEST * Math.abs(value)) / strongest;
    image.data.set([...(value > 0 ? FOR : AGAINST), 255 * strength], 4 * place);
  });
  context.putImageData(image, 0, 0);
  return heat;
}

function showProgress() {
  const left = counts.waiting ?? 0;
  find("progress").hidden = left === 0;
  find("progress").max = answers.length;
  find("progress").value = answers.length - left;
  const [ok, unsure, unlike, unusable] = ["ok", "unsure", "unlike anything seen", "unusable"].map(
    (status) => counts[status] ?? 0,
  );
  find("counts").textContent = left
    ? write("progress", { done: answers.length - left, total: answers.length })
    : write("summary", { total: answers.length, ok, unsure, unlike, unusable });
  if (!left) find("state").textContent = find("counts").textContent; // read out once, at the end
}

async function begin() {
  translate();
  listen();
  try {
    pool = await startPool(facts);
    document.body.dataset.state = "ready";
    if (!answers.length) find("state").textContent = texts.ready;
    find("state").classList.remove("busy");
    for (const card of shown.keys()) answerCard(card);
  } catch (error) {
    document.body.dataset.state = "failed";
    find("state").textContent = write("failed", { reason: error.message });
    find("state").className = "failed";
  }
  if (facts.is_folder && "serviceWorker" in navigator && location.protocol.startsWith("http")) {
    navigator.serviceWorker.register("service-worker.js").catch(() => {}); // it works without, as long as there is a net
  }
}

begin();
