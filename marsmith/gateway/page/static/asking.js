// Asks the gateway, as any other program does.

const KEPT = "marsmith-key"; // sessionStorage: gone with the tab, and Swagger UI at /docs finds it
const JSON_TYPE = "application/json";

/** What went wrong, in the server's own words where it said any. `wait` is in seconds. */
export class Problem extends Error {
  constructor(detail, { hint = "", code = "", status = 0, wait = 0 } = {}) {
    super(detail);
    Object.assign(this, { hint, code, status, wait });
  }
}

export const hasKey = () => sessionStorage.getItem(KEPT) !== null;

/** Use a key from now on; an empty one is forgotten. Throw a Problem if it can be no key. */
export function useKey(key) {
  if (!/^[\x21-\x7e]*$/.test(key)) {
    const hint = "A key has only plain letters, digits and signs: copy it whole, without a space.";
    throw new Problem("This cannot be a key.", { hint });
  }
  if (key) sessionStorage.setItem(KEPT, key);
  else sessionStorage.removeItem(KEPT);
}

/** Send a request with the key; throw a Problem unless the answer is a good one. */
export async function send(path, options = {}) {
  const headers = new Headers(options.headers);
  if (hasKey()) headers.set("Authorization", `Bearer ${sessionStorage.getItem(KEPT)}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw new Problem("You stopped the request.");
    const hint = "See that the gateway is running, and try again.";
    throw new Problem("The gateway cannot be reached.", { hint });
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function problemOf(response) {
  const { status, statusText } = response;
  const wait = Number(response.headers.get("Retry-After")) || 1;
  const text = await response.text();
  try {
    const said = JSON.parse(text);
    return new Problem(said.detail, { ...said, status, wait });
  } catch {
    return new Problem(text || statusText || `Status ${status}`, { status, wait });
  }
}

/** Return what the gateway tells: {models, certificate}; programs must be told to trust it. */
export const told = async () => (await send("page/models")).json();

/** Return the Accept header for the answer that a person wants. */
export function acceptFor(wanted, sample) {
  if (wanted === "json") return JSON_TYPE;
  if (wanted === "picture") return "image/jpeg, image/*;q=0.9";
  // The classes of a mask come as JSON; a model without them answers with its mask.
  if (sample?.gives === "mask") return `${JSON_TYPE}, */*;q=0.5`;
  return sample?.accept ?? "*/*";
}

/**
 * Ask a model, and return its answer: {blob, values, text, mask, seconds, request}.
 *
 * `values` are those of JSON, and `mask` is the picture of the classes that they name.
 */
export async function ask(model, input, accept, signal) {
  const begun = performance.now();
  const type = input.type || "application/octet-stream";
  const headers = input.headers ?? {};
  const { name, blob: body } = input;
  const request = { path: model.predict, type, accept, name, blob: body, headers };
  const post = (accepted) => send(model.predict, {
    method: "POST",
    body,
    headers: { ...headers, "Content-Type": type, Accept: accepted },
    signal,
  });
  const blob = await (await post(accept)).blob();
  const answer = { blob, ...(await read(blob)), request };
  if (hasClasses(answer.values)) answer.mask = await maskOf(post);
  answer.seconds = (performance.now() - begun) / 1000;
  return answer;
}

/** Return what an answer says: {values, text} of JSON, {text} of a text, nothing of a picture. */
export async function read(blob) {
  if (blob.type.startsWith("image/")) return {};
  const text = await blob.text();
  try {
    return { values: JSON.parse(text), text };
  } catch {
    return { text };
  }
}

/** Tell whether JSON names the classes of a mask, with the share that each has of the picture. */
export function hasClasses(values) {
  const classes = values?.classes;
  return Array.isArray(classes) && classes.length > 0 && classes.every(isClass);
}

const isClass = (one) => typeof one?.share === "number" && typeof one.colour === "string";

async function maskOf(post) {
  const blob = await (await post("image/png")).blob();
  return blob.type.startsWith("image/") ? blob : undefined;
}
