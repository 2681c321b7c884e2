// Leafs through the slices, and asks the decoder.
import { fetchBitmap, fetchJson, fetchOnce } from "./fetching.js";
import { drawPicture, paintAnswer, paintOutlines } from "./picture.js";
import { watchPointer } from "./pointer.js";

const STEP = 16; // of the cross, in pixels of a prompt
const RENAME_DELAY = 300; // milliseconds: browsers refuse to change an address as often as a held key leafs
const get = (id) => document.getElementById(id);
const canvas = get("canvas");

const dataset = await fetchJson("dataset");
const colors = new Map(dataset.structures.map(({ value, color }) => [value, color]));
const state = { volume: 0, slice: 0, structure: null, masks: true, embedding: false, unprompted: false, inside: true };
const prompt = { points: [], inside: [], box: null };
let shown = {}; // layers of the current slice
let cross = null;
let corner = null; // first corner of a box, by keyboard
let dragged = null; // box that is being dragged
let asked = null; // the latest question that has not been sent
let isAsking = false;
let renaming = null; // timer of the address

const volumeOf = () => dataset.volumes[state.volume];
const sliceOf = () => volumeOf().slices[state.slice];
const addressOf = (slice, what) => `slices/${encodeURIComponent(slice.name)}/${what}`;

function fetchSlice(slice) {
  return Promise.all([
    fetchOnce(addressOf(slice, "image"), fetchBitmap),
    fetchOnce(addressOf(slice, "mask"), async (address) => paintOutlines(await fetchJson(address), colors)),
    state.embedding ? fetchOnce(addressOf(slice, "embedding"), fetchBitmap) : null,
  ]);
}

function draw() {
  const { image, outlines, embedding, answer } = shown;
  // Until an embedding has arrived, the image is left.
  const background = (state.embedding && embedding) || image;
  const box = dragged ?? (corner ? boxBetween(corner, cross) : prompt.box);
  const layers = { background, outlines: state.masks ? outlines : null, answer: state.masks ? answer : null };
  drawPicture(canvas, { ...layers, ...prompt, box, cross, promptSize: dataset.promptSize });
}

function explain(problem) {
  get("problem").textContent = problem;
  get("problem").hidden = !problem;
}

function describe() {
  const [volume, slice] = [volumeOf(), sliceOf()];
  get("volume").value = state.volume;
  get("place").textContent = `${state.slice + 1} of ${volume.slices.length}, base to apex`;
  get("about").textContent = `${slice.description}. Group: ${volume.group}. Split: ${slice.split}.`;
  get("previous").disabled = state.slice === 0;
  get("next").disabled = state.slice === volume.slices.length - 1;
  canvas.setAttribute("aria-label", slice.description);
  document.title = `${slice.name} - Viewer`;
  clearTimeout(renaming);
  renaming = setTimeout(() => history.replaceState(null, "", `#${encodeURIComponent(slice.name)}`), RENAME_DELAY);
}

function press() {
  for (const name of ["masks", "embedding", "unprompted", "inside"]) {
    get(name).setAttribute("aria-pressed", String(state[name]));
  }
  get("outside").setAttribute("aria-pressed", String(!state.inside));
  for (const button of get("structures").children) {
    button.setAttribute("aria-pressed", String(button.value === (state.structure ?? "")));
  }
}

// Show the current slice. What arrives after the next one was chosen is left aside.
async function show() {
  const slice = sliceOf();
  describe();
  press();
  canvas.setAttribute("aria-busy", "true");
  try {
    const [image, outlines, embedding] = await fetchSlice(slice);
    if (slice !== sliceOf()) return;
    shown = { image, outlines, embedding, answer: shown.answer };
    explain("");
  } catch (error) {
    if (slice !== sliceOf()) return;
    shown = {};
    explain(error.message);
  }
  draw();
  canvas.setAttribute("aria-busy", "false");
  const near = [state.slice - 1, state.slice + 1].map((index) => volumeOf().slices[index]);
  near.filter(Boolean).forEach((other) => fetchSlice(other).catch(() => null));
}

function clearPrompt() {
  Object.assign(prompt, { points: [], inside: [], box: null });
  [corner, asked, shown.answer] = [null, null, null];
  get("answer").textContent = "";
}

function goTo(volume, slice) {
  state.volume = Math.min(Math.max(volume, 0), dataset.volumes.length - 1);
  state.slice = Math.min(Math.max(slice, 0), volumeOf().slices.length - 1);
  clearPrompt();
  show();
  if (state.unprompted) ask();
}

function describeDice(dice) {
  return Object.entries(dice).map(([key, value]) => {
    const { name } = dataset.structures.find((structure) => structure.key === key);
    return value === null ? `no ${name} in mask or answer` : `${name}: Dice ${value.toFixed(3)}`;
  }).join(", ");
}

// Ask the decoder. Of the questions that come up while it answers, only the latest is sent.
async function ask() {
  if (!dataset.decoder) return;
  if (prompt.points.length || prompt.box) state.unprompted = false;
  press();
  draw();
  asked = { slice: sliceOf(), since: performance.now(), body: JSON.stringify({ ...prompt, structure: state.structure }) };
  if (isAsking) return;
  isAsking = true;
  while (asked) {
    const question = asked;
    asked = null;
    await showAnswer(question);
  }
  isAsking = false;
}

async function showAnswer({ slice, since, body }) {
  try {
    const { mask, dice } = await fetchJson(addressOf(slice, "answer"), { method: "POST", body });
    if (slice !== sliceOf() || !(prompt.points.length || prompt.box || state.unprompted)) return;
    shown.answer = paintAnswer(mask, colors);
    draw();
    get("answer").textContent = `${describeDice(dice)} (${Math.round(performance.now() - since)} ms)`;
  } catch (error) {
    if (slice === sliceOf()) get("answer").textContent = error.message;
  }
}

function askAgain() {
  if (prompt.points.length || prompt.box || state.unprompted) ask();
}

function addPoint(point, inside) {
  prompt.points.push(point);
  prompt.inside.push(inside);
  ask();
}

function boxBetween(first, second) {
  return [Math.min, Math.max].flatMap((choose) => first.map((_, axis) => choose(first[axis], second[axis])));
}

function setBox(first, second) {
  prompt.box = boxBetween(first, second);
  [dragged, corner] = [null, null];
  ask();
}

const toPixels = (shares) => shares.map((share) => share * dataset.promptSize);
const byPointer = {
  drag(first, second) {
    dragged = boxBetween(toPixels(first), toPixels(second));
    draw();
  },
  box(first, second) { setBox(toPixels(first), toPixels(second)); },
  cancel() {
    dragged = null;
    draw();
  },
  point(at, isMain) { addPoint(toPixels(at), state.inside && isMain); },
};

const actions = {
  masks() { state.masks = !state.masks; press(); draw(); },
  embedding() { state.embedding = !state.embedding; show(); },
  inside() { state.inside = true; press(); },
  outside() { state.inside = false; press(); },
  previous() { goTo(state.volume, state.slice - 1); },
  next() { goTo(state.volume, state.slice + 1); },
  unprompted() {
    const wanted = !state.unprompted;
    clearPrompt();
    state.unprompted = wanted && Boolean(dataset.decoder);
    press();
    draw();
    askAgain();
  },
  clear() {
    cross = null;
    state.unprompted = false;
    clearPrompt();
    press();
    draw();
  },
  help() { get("keys").showModal(); },
};

function chooseStructure(key) {
  state.structure = key || null;
  press();
  askAgain();
}

const keys = {
  ArrowLeft: actions.previous,
  ArrowRight: actions.next,
  ArrowUp() { goTo(state.volume - 1, state.slice); },
  ArrowDown() { goTo(state.volume + 1, state.slice); },
  m: actions.masks,
  e: actions.embedding,
  n: actions.unprompted,
  Escape: actions.clear,
  "?": actions.help,
  0() { chooseStructure(null); },
  b() {
    if (!dataset.decoder) return;
    cross ??= Array(2).fill(dataset.promptSize / 2);
    if (!corner) {
      corner = [...cross];
      return draw();
    }
    setBox(corner, cross);
  },
};
dataset.structures.forEach(({ key, value }) => { keys[value] = () => chooseStructure(key); });

function moveCross(key) {
  const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  const [left, top] = cross ?? Array(2).fill(dataset.promptSize / 2);
  cross = [left + STEP * x, top + STEP * y].map((one) => Math.min(Math.max(one, 0), dataset.promptSize));
  draw();
}

function pressKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || get("keys").open) return;
  // A list of volumes has its own use for these two, and a button for Enter.
  if (target.matches("select") && ["ArrowUp", "ArrowDown"].includes(key)) return;
  if (event.shiftKey && key.startsWith("Arrow")) moveCross(key);
  else if (key === "Enter" && cross && !target.matches("button, select")) addPoint([...cross], !event.shiftKey);
  else if (Object.hasOwn(keys, key)) keys[key]();
  else return;
  event.preventDefault();
}

function fillPage() {
  dataset.volumes.forEach(({ patient, phase }, index) => {
    get("volume").add(new Option(`${patient}, ${phase}`, index));
  });
  const any = dataset.decoder?.fineTuned ? "All" : "Best fit";
  for (const { key, name, color } of [{ key: "", name: any }, ...dataset.structures]) {
    const button = Object.assign(document.createElement("button"), { type: "button", value: key });
    button.textContent = key || any;
    button.title = name;
    button.addEventListener("click", () => chooseStructure(key));
    get("structures").append(button);
    if (!key) continue;

    const item = document.createElement("li");
    const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
    swatch.style.background = color;
    item.append(swatch, name);
    get("key").append(item);
  }
  const { decoder, reason } = dataset;
  get("asking").hidden = !decoder;
  get("hint").textContent = decoder
    ? `Click, or drag a box. ${decoder.fineTuned ? "Trained" : "Released"} decoder of ${decoder.name}.`
    : `No decoder: ${reason}`;
}

function start() {
  fillPage();
  Object.entries(actions).forEach(([name, action]) => get(name).addEventListener("click", action));
  get("volume").addEventListener("change", (event) => goTo(Number(event.target.value), state.slice));
  document.addEventListener("keydown", pressKey);
  if (dataset.decoder) watchPointer(canvas, byPointer);
  const name = decodeURIComponent(location.hash.slice(1));
  const found = dataset.volumes.findIndex(({ slices }) => slices.some((slice) => slice.name === name));
  const slices = dataset.volumes[Math.max(found, 0)].slices;
  // Without a slice in the address, the one in the middle shows most of the heart.
  const index = found < 0 ? slices.length >> 1 : slices.findIndex((slice) => slice.name === name);
  goTo(Math.max(found, 0), index);
}

start();
