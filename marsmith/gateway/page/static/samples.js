// The samples of models, as their archives hold them. Each part is fetched once.

import { send } from "./asking.js";

const LONGEST = 5; // seconds that a person is let wait
const RETRIES = 3; // where a key allows only so many requests at a time
const fetched = new Map(); // blobs by address

/** Return a part of a sample, fetched with the key; wait where the gateway says so. */
export async function load(address, signal) {
  for (let left = RETRIES; !fetched.has(address); left -= 1) {
    try {
      fetched.set(address, await (await send(address, { signal })).blob());
    } catch (problem) {
      const isShort = problem.status === 429 && problem.wait <= LONGEST;
      if (!isShort || left === 0 || signal?.aborted) throw problem;
      await pause(problem.wait, signal);
    }
  }
  return fetched.get(address);
}

/** Forget all: another key may see other samples. */
export const forget = () => fetched.clear();

/** Wait for seconds, or until a signal. */
function pause(seconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", resolve);
  });
}
