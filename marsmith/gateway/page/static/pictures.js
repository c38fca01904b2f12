// Pictures before they are sent, and the pictures that are saved.

const LARGEST = 1024; // pixels: the longest side of a picture that is sent smaller
const QUALITY = 0.9; // of JPEG

/** Return the pixels of a file, turned as its EXIF data say; throw if no browser can read it. */
export const decode = (blob) => createImageBitmap(blob, { imageOrientation: "from-image" });

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
 * Return a file as it is sent: {blob, type, name}.
 *
 * One that is small enough goes as it is, and so does one that this browser cannot read (HEIC,
 * TIFF): the model may.
 */
export async function toSend(file, smaller) {
  const whole = { blob: file, type: file.type, name: file.name || "picture" };
  if (!smaller) return whole;
  const picture = await decode(file).catch(() => null);
  if (picture === null || Math.max(picture.width, picture.height) <= LARGEST) return whole;
  const canvas = canvasOf(...smallSize(picture.width, picture.height));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const type = file.type === "image/png" ? "image/png" : "image/jpeg"; // it may be transparent
  const ending = type === "image/png" ? "png" : "jpg";
  const name = `${whole.name.replace(/\.\w+$/, "")}-small.${ending}`;
  return { blob: await encoded(canvas, type), type, name };
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
