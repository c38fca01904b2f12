// Pictures before they are sent, and the pictures that are saved.

import { Problem } from "./asking.js";

const LARGEST = 1024; // pixels: the longest side of a picture that is sent smaller
const SHRUNK = ["image/jpeg", "image/png", "image/webp"]; // those that models take, too
const QUALITY = 0.9; // of JPEG

/** Return the pixels of a file, turned as its EXIF data say; throw if no browser can read it. */
export const decode = (blob) => createImageBitmap(blob, { imageOrientation: "from-image" });

/** Return the pixels of a file; null if this browser cannot read it (HEIC, TIFF): a model may. */
export const decodedOrNull = (blob) => decode(blob).catch(() => null);

/** Return a canvas of a size. */
export function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  return canvas;
}

/** Return the size at which a picture is sent. */
export function smallSize(width, height) {
  const scale = Math.min(1, LARGEST / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/**
 * Return a file as it is sent: {blob, type, name}; throw if it is gone.
 *
 * It goes as it is, unless it shall be smaller, and is a large JPEG, PNG or WebP.
 */
export async function toSend(file, smaller) {
  const whole = { blob: file, type: file.type, name: file.name || "picture" };
  await readable(file, whole.name);
  if (!smaller || !SHRUNK.includes(file.type)) return whole;
  const picture = await decodedOrNull(file);
  if (picture === null || Math.max(picture.width, picture.height) <= LARGEST) return whole;
  const canvas = canvasOf(...smallSize(picture.width, picture.height));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const type = file.type === "image/jpeg" ? "image/jpeg" : "image/png"; // it may be transparent
  const ending = type === "image/png" ? "png" : "jpg";
  const name = `${whole.name.replace(/\.\w+$/, "")}-small.${ending}`;
  return { blob: await encoded(canvas, type), type, name };
}

/** Throw a Problem if a file cannot be read any more: it was moved, changed or deleted. */
export async function readable(file, name) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Problem(`${name} cannot be read.`, { hint: "Pick it again: it was moved or changed." });
  }
}

/** Return a canvas as a file. */
export function encoded(canvas, type = "image/jpeg") {
  return new Promise((resolve) => canvas.toBlob(resolve, type, QUALITY));
}

/** Return a picture as a JPEG; what is one stays as it is. */
export async function asJpeg(blob) {
  if (blob.type === "image/jpeg") return blob;
  const picture = await decode(blob);
  const canvas = canvasOf(picture.width, picture.height);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white"; // JPEG has no transparency
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0);
  return encoded(canvas);
}

/** Return the name that a picture is saved under: yyyyMMddHHmmss.jpg, of the local time. */
export function nameOf(time) {
  const parts = [time.getFullYear(), time.getMonth() + 1, time.getDate()];
  parts.push(time.getHours(), time.getMinutes(), time.getSeconds());
  return `${parts.map((part) => String(part).padStart(2, "0")).join("")}.jpg`;
}

/** Save a file, as a click on a link does. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser may still read it
}
