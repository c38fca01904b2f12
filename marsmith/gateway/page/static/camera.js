// Takes a picture: with a live view where the browser allows it, or else with the phone's camera app.

import { byId } from "./dom.js";
import { canvasOf, encoded } from "./pictures.js";

let isOpening = false;

/** Ask for a picture; `taken` gets it as a file. A live view needs https, or this machine. */
export async function takePicture(taken) {
  if (isOpening || byId("camera-dialog").open) return; // a double click asks once
  isOpening = true;
  const stream = await liveView();
  isOpening = false;
  if (stream === null) {
    byId("capture").click();
    return;
  }
  const dialog = byId("camera-dialog");
  const live = byId("live");
  byId("shoot").disabled = true; // until there is something to take
  live.onloadeddata = () => { byId("shoot").disabled = false; };
  live.srcObject = stream;
  byId("shoot").onclick = async () => {
    const file = await still(live);
    dialog.close();
    taken(file);
  };
  byId("no-camera").onclick = () => dialog.close();
  dialog.onclose = () => {
    for (const track of stream.getTracks()) track.stop();
    live.srcObject = null;
  };
  dialog.showModal();
}

async function liveView() {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) return null;
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    return null; // there is no camera, or it may not be used
  }
}

async function still(live) {
  const canvas = canvasOf(live.videoWidth, live.videoHeight);
  canvas.getContext("2d").drawImage(live, 0, 0);
  return new File([await encoded(canvas)], "camera.jpg", { type: "image/jpeg" });
}
