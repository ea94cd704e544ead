// What is done for one photo, from the file to the answer. Runs in workers, several photos at a time, or in the page
// itself where a browser does not let a page from a file have workers.

import { decodePhoto, isJpeg, prepareSquare } from "./pixels.js";
import { decide } from "./answers.js";
import { loadNetwork } from "./network.js";

const PREVIEW = 480; // longest side of what is shown instead of a large photo, pixels
const LARGE = 1e6; // pixels; smaller photos are shown as they are

/**
 * Answer what comes through a port: first {facts, parts}, then tasks {number, file, pair}. What goes back is {isReady}, or
 * {number} with what was found; a `reason` tells why something could not be done.
 */
export function serve(port) {
  let facts = null;
  let network = null;
  let last = Promise.resolve();
  port.onmessage = ({ data }) => {
    if (data.parts) {
      ({ facts } = data);
      last = loadNetwork(data.parts, facts).then((loaded) => {
        network = loaded;
        port.postMessage({ isReady: true });
      });
      last.catch((error) => port.postMessage({ isReady: false, reason: error.message }));
      return;
    }
    const { number, file, pair } = data;
    const decoded = decodePhoto(file); // while another photo is in the network
    decoded.catch(() => {}); // it is waited for later
    last = last
      .then(async () => {
        const photo = await decoded;
        return pair ? locateClasses(network, facts, photo, pair) : answerPhoto(network, facts, photo);
      })
      .catch((error) => ({ reason: error.message }))
      .then((found) => port.postMessage({ number, ...found }));
  };
}

async function answerPhoto(network, facts, photo) {
  const began = performance.now();
  const pixels = prepareSquare(photo, facts.preprocessing);
  const prepared = performance.now();
  const { probabilities, embedding } = await network.run(pixels);
  const milliseconds = [prepared - began, performance.now() - prepared];
  const decided = decide(probabilities, embedding, facts.rules);
  const { width, height } = photo;
  const preview = width * height > LARGE ? await makePreview(photo) : null;
  return { probabilities, ...decided, width, height, preview, milliseconds };
}

async function locateClasses(network, facts, photo, [answer, rival]) {
  return { map: await network.findPlaces(prepareSquare(photo, facts.preprocessing), answer, rival) };
}

async function makePreview({ canvas, width, height }) {
  const factor = PREVIEW / Math.max(width, height);
  const small = new OffscreenCanvas(Math.max(1, Math.round(width * factor)), Math.max(1, Math.round(height * factor)));
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "medium";
  context.drawImage(canvas, 0, 0, small.width, small.height);
  return small.convertToBlob({ type: "image/jpeg", quality: 0.8 });
}

self.serve = serve;
if (typeof document === "undefined") serve(self);
