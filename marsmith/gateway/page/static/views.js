// Shows answers. What an answer is, its content type and its values tell, and never a model's name.

import { hasClasses } from "./asking.js";
import { make, percent } from "./dom.js";
import { asJpeg, canvasOf, decodedOrNull, encoded } from "./pictures.js";

const MOST_BARS = 10;
const COLOURS = ["#e4572e", "#2e86ab", "#3a9d5d", "#8e5ea2", "#c98a00", "#d6436e", "#00868b"];

/**
 * Return how an answer is shown: {element, summary, picture}.
 *
 * `summary` is one line, and `picture` returns what can be saved, if there is any.
 */
export async function viewOf(answer) {
  try {
    return await fittingView(answer);
  } catch (error) {
    console.warn(error); // an answer that only looks like one of these: it is shown as it came
    return told(undefined, answer.text ?? "");
  }
}

async function fittingView(answer) {
  const { values, request } = answer;
  const picture = answer.blob.type.startsWith("image/") ? answer.blob : inJson(values);
  if (picture) return compared(request.blob, picture);
  if (hasClasses(values)) return masked(request.blob, answer.mask, values.classes);
  const boxes = boxesOf(values);
  if (boxes) return boxed(request.blob, boxes);
  const scores = scoresOf(values);
  if (scores) return barred(scores);
  return told(values, answer.text);
}

/** Return the picture that JSON holds as base64, as {"image", "content_type"}. */
function inJson(values) {
  if (typeof values?.image !== "string" || !values.content_type?.startsWith("image/")) return null;
  const bytes = Uint8Array.from(atob(values.image), (one) => one.charCodeAt(0));
  return new Blob([bytes], { type: values.content_type });
}

// Classes

/** Return [[label, score], …], the surest first: of {"probabilities": {…}}, or a table alone. */
function scoresOf(values) {
  const table = values?.probabilities ?? tableOf(values) ?? values;
  if (table === null || typeof table !== "object" || Array.isArray(table)) return null;
  const scores = Object.entries(table);
  const isShare = ([, score]) => typeof score === "number" && score >= 0 && score <= 1;
  if (scores.length < 2 || !scores.every(isShare)) return null;
  return scores.sort((one, other) => other[1] - one[1]).slice(0, MOST_BARS);
}

/** Return {label: score} of [{label, score}, …]; null of all else. */
function tableOf(values) {
  const isScore = (one) => typeof one?.score === "number" && isLabel(one.label);
  if (!Array.isArray(values) || !values.every(isScore)) return null;
  return Object.fromEntries(values.map((one) => [one.label, one.score]));
}

const isLabel = (value) => typeof value === "string" || typeof value === "number";

function barred(scores) {
  const bars = scores.map(([label, score]) => {
    const bar = make("span", { className: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--share", score);
    return make("li", {}, make("span", { textContent: label }), bar, make("b", {
      textContent: percent(score),
    }));
  });
  const [label, score] = scores[0];
  const element = make("div", {},
    make("p", { className: "first" }, make("strong", { textContent: label }), percent(score)),
    make("ol", { className: "bars", "aria-label": "Classes, the surest first" }, ...bars));
  return { element, summary: `${label} (${percent(score)})` };
}

// Pictures

async function compared(before, after) {
  const [known, made] = await Promise.all([before, after].map(decodedOrNull));
  if (made === null) return told(null, `A picture that this browser cannot show: ${after.type}`);
  const summary = `picture, ${made.width} × ${made.height}`;
  const picture = () => asJpeg(after);
  const [first, second] = [before, after].map((blob) => URL.createObjectURL(blob));
  const image = make("img", { src: second, alt: "What the model made of it" });
  if (known === null) return { element: make("figure", {}, image), summary, picture };
  const original = make("img", { src: first, alt: "The picture as it was sent" });
  const isSame = Math.abs(known.width / known.height - made.width / made.height) < 0.02;
  const pair = make("div", { className: isSame ? "slid" : "pair" }, image, original);
  const figure = make("figure", {}, pair);
  if (isSame) {
    const slider = make("input", { type: "range", min: 0, max: 100, value: 50 });
    slider.setAttribute("aria-label", "How much of the picture as it was sent is shown");
    slider.oninput = () => pair.style.setProperty("--cut", `${slider.value}%`);
    slider.oninput();
    pair.style.aspectRatio = `${made.width} / ${made.height}`;
    figure.append(slider);
  }
  figure.append(make("figcaption", { textContent: "Left: as sent. Right: the answer." }));
  if (!isSame) pair.prepend(original);
  return { element: figure, summary, picture };
}

// Masks

/** Lay a mask over its picture; an example of an archive may have classes, and no mask. */
async function masked(sent, mask, classes) {
  const under = await decodedOrNull(sent);
  const made = mask ? await decodedOrNull(mask) : under;
  if (made === null) return told(null, JSON.stringify(classes));
  const canvas = canvasOf(made.width, made.height);
  const colours = mask ? coloured(made, classes) : canvasOf(1, 1);
  const pen = canvas.getContext("2d");
  const draw = (opacity) => {
    pen.globalAlpha = 1;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (under) pen.drawImage(under, 0, 0, canvas.width, canvas.height);
    pen.globalAlpha = opacity;
    pen.drawImage(colours, 0, 0);
  };
  const slider = make("input", { type: "range", min: 0, max: 100, value: 60 });
  slider.setAttribute("aria-label", "How strongly the mask covers the picture");
  slider.oninput = () => draw(slider.value / 100);
  slider.oninput();
  const names = classes.map((one) => `${one.label} ${percent(one.share)}`);
  const rows = classes.map((one) => [one.colour, one.label, percent(one.share)]);
  const label = `The picture with: ${names.join(", ")}`;
  const element = figureOf(canvas, label, mask ? slider : null, rows);
  return { element, summary: names.slice(0, 3).join(", "), picture: () => encoded(canvas) };
}

/** Return a mask in its classes' colours: a grey one holds their indices. Class 0 is the ground. */
function coloured(mask, classes) {
  const canvas = canvasOf(mask.width, mask.height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(mask, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  const { data } = pixels;
  const known = new Map(classes.map((one) => [one.index, rgbOf(one.colour)]));
  let isGrey = true;
  for (let at = 0; at < data.length && isGrey; at += 4) {
    isGrey = data[at] === data[at + 1] && data[at] === data[at + 2] && known.has(data[at]);
  }
  for (let at = 0; at < data.length; at += 4) {
    const ground = data[at] + data[at + 1] + data[at + 2] === 0;
    if (isGrey) data.set(known.get(data[at]), at);
    data[at + 3] = ground ? 0 : 255;
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

const rgbOf = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

// Boxes

/** Return [{box, label, score}, …], of the kit's detectors, or of TorchServe's: {label: box}. */
function boxesOf(found) {
  const values = rowsOf(found) ?? found;
  if (!Array.isArray(values) || values.length === 0) return null;
  const boxes = values.map((one) => {
    if (one === null || typeof one !== "object") return null;
    if (isBox(one.box)) return { box: one.box, label: String(one.label), score: one.score };
    const found = Object.entries(one).find(([, value]) => isBox(value));
    return found ? { box: found[1], label: found[0], score: one.score } : null;
  });
  return boxes.every(Boolean) ? boxes : null;
}

/** Return [{box, label, score}, …] of {boxes, labels, scores}, as torchvision names them. */
function rowsOf(values) {
  const { boxes, labels, scores } = values ?? {};
  if (!Array.isArray(boxes)) return null;
  return boxes.map((box, at) => ({ box, label: labels?.[at] ?? "", score: scores?.[at] }));
}

const isBox = (value) => Array.isArray(value) && value.length === 4 && value.every(Number.isFinite);

async function boxed(sent, boxes) {
  const picture = await decodedOrNull(sent);
  if (picture === null) return listed(boxes);
  const canvas = canvasOf(picture.width, picture.height);
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0);
  const labels = [...new Set(boxes.map((one) => one.label))];
  const colourOf = (label) => COLOURS[labels.indexOf(label) % COLOURS.length];
  const line = Math.max(2, Math.round(Math.max(canvas.width, canvas.height) / 250));
  for (const one of [...boxes].reverse()) drawBox(pen, one, colourOf(one.label), line);
  const scored = (one) => (typeof one.score === "number" ? percent(one.score) : "");
  const rows = boxes.map((one) => [colourOf(one.label), one.label, scored(one)]);
  const names = labels.map((label) => {
    return `${boxes.filter((one) => one.label === label).length} × ${label}`;
  });
  const element = figureOf(canvas, `The picture with boxes: ${names.join(", ")}`, null, rows);
  return { element, summary: names.join(", "), picture: () => encoded(canvas) };
}

/** Return boxes as a list: the picture that they are of cannot be shown. */
function listed(boxes) {
  const items = boxes.map(({ box, label, score }) => {
    const shown = typeof score === "number" ? ` ${percent(score)}` : "";
    return make("li", { textContent: `${label}${shown}: ${box.map(Math.round).join(", ")}` });
  });
  const hint = make("p", { className: "hint", textContent: "This browser cannot show the picture." });
  return { element: make("div", {}, hint, make("ul", {}, ...items)), summary: `${boxes.length} boxes` };
}

function drawBox(pen, { box: [left, top, right, below], label }, colour, line) {
  const size = 7 * line;
  Object.assign(pen, { strokeStyle: colour, lineWidth: line, font: `600 ${size}px sans-serif` });
  pen.strokeRect(left, top, right - left, below - top);
  const width = pen.measureText(label).width + 2 * line;
  const head = top >= size + line ? top - size - line : top;
  pen.fillStyle = colour;
  pen.fillRect(left - line / 2, head, width, size + line);
  Object.assign(pen, { fillStyle: "white", textBaseline: "middle" });
  pen.fillText(label, left + line / 2, head + (size + line) / 2);
}

function figureOf(canvas, label, slider, rows) {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const legend = rows.map(([colour, name, share]) => {
    const mark = make("span", { className: "mark", "aria-hidden": "true" });
    mark.style.background = colour;
    return make("li", {}, mark, make("span", { textContent: name }), make("b", {
      textContent: share,
    }));
  });
  return make("figure", {}, canvas, slider, make("ul", { className: "legend" }, ...legend));
}

// All else

function told(values, text) {
  if (Array.isArray(values) && values.length === 0) {
    return { element: make("p", { textContent: "The model found nothing." }), summary: "nothing" };
  }
  const isObject = values !== null && typeof values === "object" && !Array.isArray(values);
  if (!isObject || Object.values(values).some((one) => one !== null && typeof one === "object")) {
    const line = (text ?? "").trim();
    const summary = line.length > 200 ? `${line.slice(0, 200)}…` : line;
    const element = make(line.length > 60 ? "pre" : "p", { textContent: line });
    element.classList.add("told");
    return { element, summary };
  }
  const rows = Object.entries(values).map(([name, value]) => make("div", {},
    make("dt", { textContent: name.replaceAll("_", " ") }),
    make("dd", { textContent: String(value) })));
  const pairs = Object.entries(values).map(([name, value]) => `${name} ${value}`);
  const summary = pairs.slice(0, 3).join(", ");
  return { element: make("dl", { className: "facts" }, ...rows), summary };
}
