// The page itself: photos in by four ways, one card a photo, and the table out. Labels and file names are only ever set
// as text, never as markup.

import { decodePhoto, isJpeg, prepareSquare } from "./pixels.js";
import { decide } from "./answers.js";
import { loadNetwork } from "./network.js";
import { formatTable } from "./table.js";

const FOR = [232, 101, 15]; // as in the report
const AGAINST = [20, 110, 200];
const STRONGEST = 0.85;
const PREVIEW = 480; // longest side, pixels
const BOX = 4 / 3; // width to height of the place for a photo

const find = (id) => document.getElementById(id);
const facts = JSON.parse(find("facts").textContent);
const allTexts = JSON.parse(find("texts").textContent);
const language = navigator.languages.map((wanted) => wanted.slice(0, 2)).find((wanted) => wanted in allTexts) ?? "en";
const texts = allTexts[language];
const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
const answers = [];
const waiting = [];
let network = null;
let isBusy = false;

function write(name, values = {}) {
  return texts[name].replace(/\{(\w+)\}/g, (_, key) => String(values[key]));
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function countStatus(status) {
  return answers.filter((answer) => answer.status === status).length;
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
    const answer = { file: file.webkitRelativePath || file.name, status: "waiting" };
    answers.push(answer);
    const card = makeCard(answer);
    find("photos").append(card);
    waiting.push({ file, answer, card });
  }
  if (answers.length) find("results").hidden = false;
  find("drop").classList.toggle("small", answers.length > 0);
  showProgress();
  work();
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
  waiting.length = 0;
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

// ---- the work, one photo after another; the next is decoded while one is in the network

async function work() {
  if (isBusy || !network) return;
  isBusy = true;
  let next = null;
  while (waiting.length || next) {
    const item = next ?? start(waiting.shift());
    next = waiting.length ? start(waiting.shift()) : null;
    try {
      await answer(item);
    } catch {
      item.answer.status = "unusable";
      item.answer.note = "not a photo that this browser can read";
    }
    showAnswer(item);
    showProgress();
    await new Promise((resolve) => setTimeout(resolve)); // lets the page breathe
  }
  isBusy = false;
}

function start(item) {
  const decoded = Promise.all([decodePhoto(item.file), isJpeg(item.file)]);
  decoded.catch(() => {}); // it is waited for later
  return { ...item, decoded };
}

async function answer({ answer, decoded, card }) {
  const [photo, fromJpeg] = await decoded;
  const began = performance.now();
  const pixels = prepareSquare(photo, facts.preprocessing, fromJpeg);
  const prepared = performance.now();
  const { probabilities, embedding, map } = await network.run(pixels);
  Object.assign(answer, { probabilities, map, ...decide(probabilities, embedding, facts.rules) });
  card.dataset.milliseconds = [prepared - began, performance.now() - prepared].map((time) => time.toFixed(1)).join(" ");
  answer.preview = await makePreview(photo);
  Object.assign(answer, { width: photo.width, height: photo.height });
}

async function makePreview({ canvas, width, height }) {
  const factor = Math.min(1, PREVIEW / Math.max(width, height));
  const small = new OffscreenCanvas(Math.max(1, Math.round(width * factor)), Math.max(1, Math.round(height * factor)));
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "medium";
  context.drawImage(canvas, 0, 0, small.width, small.height);
  return small.convertToBlob({ type: "image/jpeg", quality: 0.8 });
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

function showAnswer({ answer, card }) {
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
  const heading = make("h3", "label", label);
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
  showPhoto(answer, card, label);
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

function showPhoto(answer, card) {
  const box = card.querySelector(".box");
  const frame = make("div", "frame");
  const ratio = answer.width / answer.height;
  frame.style.width = `${Math.min(1, ratio / BOX) * 100}%`;
  frame.style.aspectRatio = String(ratio);
  const image = make("img");
  image.src = URL.createObjectURL(answer.preview);
  image.alt = write("photo_of", { file: answer.file });
  image.draggable = false;
  frame.append(image);
  if (answer.map) {
    const heat = drawHeat(answer.map);
    placeHeat(heat, ratio);
    frame.append(heat);
    frame.title = write("legend", { second: facts.labels[answer.order[1]] });
  }
  box.replaceChildren(frame);
  delete answer.preview;
  delete answer.map;
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
  const left = countStatus("waiting");
  find("progress").hidden = left === 0;
  find("progress").max = answers.length;
  find("progress").value = answers.length - left;
  const [ok, unsure, unlike] = ["ok", "unsure", "unlike anything seen"].map(countStatus);
  const counts = { total: answers.length, ok, unsure, unlike, unusable: countStatus("unusable") };
  find("counts").textContent = left
    ? write("progress", { done: answers.length - left, total: answers.length })
    : write("summary", counts);
  if (!left) find("state").textContent = find("counts").textContent; // read out once, at the end
}

async function begin() {
  translate();
  listen();
  try {
    network = await loadNetwork(facts);
    document.body.dataset.state = "ready";
    if (!answers.length) find("state").textContent = texts.ready;
    find("state").classList.remove("busy");
    work();
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
