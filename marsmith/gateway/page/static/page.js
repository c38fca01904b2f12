// The page: what a person picks goes to a model, one request at a time, and the answer is shown.

import { Problem, acceptFor, ask, hasKey, read, told, useKey } from "./asking.js";
import { takePicture } from "./camera.js";
import { byId, copy, make } from "./dom.js";
import { formToSend, inputsOf } from "./form.js";
import { nameOf, readable, save, toSend } from "./pictures.js";
import { forget, load } from "./samples.js";
import { curl, python } from "./snippets.js";
import { viewOf } from "./views.js";

let known = []; // what the gateway tells of its models
let certificate = ""; // a file that programs must be told to trust, if any
let model = null; // the one that is picked
let loading = null; // the AbortController of the samples that are fetched
let underway = null; // the AbortController of the request that is under way
let shown = null; // the answer and the view that are shown
let started = null; // what was picked sooner waits for the models

// Models

async function start() {
  forget();
  model = null;
  byId("again").hidden = true;
  try {
    ({ models: known, certificate } = await told());
  } catch (problem) {
    byId("models").replaceChildren(make("legend", { textContent: "Model" }));
    byId("samples-part").hidden = true;
    clear("");
    tell(problem);
    byId("again").hidden = problem.status === 401;
    return;
  }
  byId("problem").replaceChildren();
  const named = hashText();
  const radios = known.map((one) => make("label", { className: "chip" },
    make("input", { type: "radio", name: "model", value: one.name, onchange: () => pick(one) }),
    make("span", { textContent: one.name })));
  byId("models").replaceChildren(make("legend", { textContent: "Model" }), ...radios);
  const first = known.find((one) => one.name === named) ?? known[0];
  if (!first) return say("This gateway serves no model yet.");
  document.querySelectorAll("[name=model]")[known.indexOf(first)].checked = true;
  pick(first);
}

/** Return what the address names after its #; nothing of what is no such text. */
function hashText() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function pick(one) {
  model = one;
  loading?.abort();
  loading = new AbortController();
  history.replaceState(null, "", `#${encodeURIComponent(one.name)}`);
  const isFile = one.takes === "file";
  byId("for-pictures").hidden = one.takes !== "picture" && !isFile;
  byId("drop-text").textContent = isFile ? "Drop files here" : "Drop pictures here";
  byId("files").accept = isFile ? "" : "image/*";
  byId("camera").hidden = isFile;
  byId("for-text").hidden = one.takes !== "text";
  byId("for-form").hidden = one.takes !== "form";
  byId("fields").replaceChildren(...inputsOf(one.fields));
  byId("small").checked = one.small;
  byId("small-why").textContent = one.small ? "(the model sees no more of it)" : "";
  byId("preview").hidden = true;
  byId("samples-part").hidden = one.samples.length === 0;
  const buttons = one.samples.map(sampleButton);
  byId("samples").replaceChildren(...buttons);
  byId("text").value = "";
  if (underway === null) clear("Pick a picture, or click a sample.");
  showSamples(one, buttons, loading.signal).catch(() => {}); // they can be done without
}

/** Fetch what the samples look like, one after the other: a key may allow few requests. */
async function showSamples(one, buttons, signal) {
  if (one.samples.length > 0) await showExample(one, signal);
  for (const [index, sample] of one.samples.entries()) {
    if (sample.content_type.startsWith("image/")) {
      const src = URL.createObjectURL(await load(sample.request, signal));
      buttons[index].replaceChildren(make("img", { src, alt: `Sample ${index + 1}` }));
    }
  }
}

/** Show the first sample as the archive holds it, so that one sees what a model does. */
async function showExample(one, signal) {
  const [sample] = one.samples;
  const blob = await load(sample.request, signal);
  if (one.takes === "text") await fillIn(blob);
  const said = await load(sample.answer, signal);
  const view = await viewOf({ blob: said, ...(await read(said)), request: { blob } });
  if (model !== one || underway !== null || shown !== null) return;
  const caption = make("p", { className: "hint", textContent: "An example from the archive:" });
  byId("result").replaceChildren(caption, view.element);
}

function sampleButton(sample, number) {
  const button = make("button", { type: "button", className: "sample" });
  button.onclick = () => trySample(sample, number);
  button.append(`Sample ${number + 1}`);
  return button;
}

async function fillIn(blob) {
  const text = await blob.text();
  if (byId("text").value === "") byId("text").value = text; // unless one has begun to type
}

function trySample(sample, number) {
  const ending = sample.content_type.match(/^image\/(\w+)/)?.[1] ?? "bin";
  const name = `${model.name}-sample-${number + 1}.${ending.replace("jpeg", "jpg")}`;
  return run([name], async (_index, signal) => {
    const blob = await load(sample.request, signal);
    return { blob, type: sample.content_type, name };
  }, sample);
}

// One request, or several, at a time

function askFiles(list) {
  const files = [...list];
  if (files.length === 0) return undefined;
  // A picture that is asked back comes in its own size.
  const smaller = byId("small").checked && byId("wanted").value !== "picture";
  const input = (index) => (model.takes === "file" ? asItIs(files[index]) : toSend(files[index], smaller));
  return run(files.map((file) => file.name), input);
}

/** Return a file of no kind that browsers know, as the first sample's. */
async function asItIs(file) {
  await readable(file, file.name);
  return { blob: file, type: model.samples[0].content_type, name: file.name };
}

/**
 * Ask about inputs of these names, one after the other; `input` returns the one at an index,
 * and may be stopped by a signal.
 *
 * `given` is the sample that they are of, if any.
 */
async function run(names, input, given) {
  await started;
  if (model === null) {
    started = start(); // it failed: it may be well now, and if not, tells why
    await started;
    if (model === null) return;
  }
  if (underway !== null) {
    byId("refused").textContent = "One request at a time: wait for this one, or stop it.";
    return;
  }
  underway = new AbortController();
  const asked = model;
  const like = given ?? asked.samples[0];
  const accept = acceptFor(byId("wanted").value, like);
  clear("");
  busy(true);
  const table = names.length > 1 ? makeTable() : null;
  try {
    for (const [index, name] of names.entries()) {
      const count = table ? ` (${index + 1} of ${names.length})` : "";
      byId("loading-text").textContent = `Asking ${asked.name} about ${name}${count}…`;
      const whole = async (signal) => ({ ...(await input(index, signal)), headers: like?.headers });
      await one(asked, accept, whole, name, table);
    }
  } catch (problem) {
    tell(problem);
  } finally {
    underway = null;
    busy(false);
  }
}

/** Ask about one input. Of several, one that fails has its problem in the table. */
async function one(asked, accept, input, name, table) {
  const { signal } = underway;
  try {
    const sent = await input(signal);
    preview(sent.blob);
    const answer = await ask(asked, sent, accept, signal);
    const view = await viewOf(answer);
    if (table) table.append(rowOf(name, view.summary, () => show(answer, view), answer));
    if (!table || shown === null) show(answer, view);
    say(`${asked.name} answered in ${timeOf(answer)}: ${view.summary}`);
  } catch (problem) {
    if (signal.aborted) throw new Problem("You stopped the request.");
    if (!table) throw problem;
    table.append(rowOf(name, problem.message, () => tell(problem)));
  }
}

const timeOf = ({ seconds }) => (seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`);

function busy(is) {
  byId("loading").hidden = !is;
  byId("refused").textContent = "";
  byId("answer").setAttribute("aria-busy", String(is));
  document.body.classList.toggle("busy", is);
}

// What is shown

function makeTable() {
  const body = make("tbody");
  const names = ["File", "Answer", "Time"].map((name) => make("th", { scope: "col", textContent: name }));
  byId("table").replaceChildren(make("table", {},
    make("caption", { textContent: "Answers. Click a file to see more." }),
    make("thead", {}, make("tr", {}, ...names)), body));
  return body;
}

function rowOf(name, summary, onclick, answer) {
  const button = make("button", { type: "button", className: "quiet", textContent: name, onclick });
  return make("tr", { className: answer ? "" : "failed" },
    make("th", { scope: "row" }, button),
    make("td", { textContent: summary }),
    make("td", { textContent: answer ? timeOf(answer) : "" }));
}

function preview(blob) {
  const image = byId("preview");
  URL.revokeObjectURL(image.src);
  image.onerror = () => { image.hidden = true; }; // this browser cannot read it; the model may
  image.hidden = false;
  image.src = URL.createObjectURL(blob);
}

function show(answer, view) {
  shown = { answer, view };
  byId("problem").replaceChildren();
  byId("result").replaceChildren(view.element);
  byId("more").hidden = false;
  byId("save").hidden = !view.picture;
  byId("json-part").hidden = answer.text === undefined;
  byId("json").textContent = answer.values === undefined ? answer.text ?? "" : JSON.stringify(answer.values, null, 2);
  const type = answer.blob.type;
  const ending = type.startsWith("image/") ? type.slice(6).replace("jpeg", "jpg") : "";
  const request = { ...answer.request, ending, certificate };
  byId("curl").textContent = curl(request, hasKey());
  byId("python").textContent = python(request, hasKey());
  const sent = byId("sent");
  URL.revokeObjectURL(sent.href);
  Object.assign(sent, { href: URL.createObjectURL(answer.request.blob), download: request.name });
  reveal();
}

/** Where the answer stands below what was asked, scroll to it. */
function reveal() {
  if (window.matchMedia("(max-width: 60rem)").matches) byId("answer").scrollIntoView();
}

function clear(text) {
  shown = null;
  byId("more").hidden = true;
  for (const id of ["problem", "table", "result"]) byId(id).replaceChildren();
  say(text);
}

function say(text) {
  byId("status").textContent = text;
}

/** Tell what went wrong, in the server's own words; then everything can be picked again. */
function tell(problem) {
  say("");
  byId("problem").replaceChildren(
    make("p", {}, make("strong", { textContent: problem.message })),
    make("p", { textContent: problem.hint ?? "" }),
    make("p", { className: "hint", textContent: [problem.code, problem.status].filter(Boolean).join(" · ") }));
  if (problem.status === 401) askForKey();
  else reveal();
}

function askForKey() {
  byId("key-form").hidden = false;
  byId("forget-key").hidden = !hasKey();
  byId("key").focus();
}

// What a person does

function listen() {
  byId("files").onchange = byId("capture").onchange = ({ target }) => {
    askFiles(target.files);
    target.value = ""; // so that the same file can be picked again
  };
  byId("camera").onclick = () => takePicture((file) => askFiles([file]));
  document.onpaste = ({ clipboardData }) => askFiles(clipboardData.files);
  document.ondragover = (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  };
  document.ondragleave = () => byId("drop").classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    byId("drop").classList.remove("over");
    askFiles(event.dataTransfer.files);
  };
  byId("for-text").onsubmit = (event) => {
    event.preventDefault();
    const type = model.samples[0]?.content_type || "text/plain";
    run(["the request"], async () => ({ blob: new Blob([byId("text").value]), type, name: "request.txt" }));
  };
  byId("for-form").onsubmit = (event) => {
    event.preventDefault();
    run(["the form"], () => formToSend(byId("fields").querySelectorAll("input")));
  };
  byId("stop").onclick = () => underway?.abort();
  byId("save").onclick = async () => save(await shown.view.picture(), nameOf(new Date()));
  for (const button of document.querySelectorAll(".copy")) {
    button.onclick = async () => {
      await copy(button.nextElementSibling.textContent);
      say("Copied.");
    };
  }
  byId("again").onclick = () => { started = start(); };
  listenForKey();
}

function listenForKey() {
  byId("use-key").onclick = () => (byId("key-form").hidden ? askForKey() : closeKey());
  byId("no-key").onclick = closeKey;
  byId("key-form").onkeydown = ({ key }) => { if (key === "Escape") closeKey(); };
  byId("forget-key").onclick = () => withKey("");
  byId("key-form").onsubmit = (event) => {
    event.preventDefault();
    withKey(byId("key").value.trim());
  };
}

function closeKey() {
  byId("key").value = "";
  byId("key-form").hidden = true;
  byId("use-key").focus();
}

/** Begin again with a key, or without one. */
function withKey(key) {
  try {
    useKey(key);
  } catch (problem) {
    tell(problem);
    return;
  }
  closeKey();
  started = start();
}

listen();
started = start();
