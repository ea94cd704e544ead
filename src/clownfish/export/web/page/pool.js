// The workers that answer photos, and what the page holds for them, packed by gzip and written as base64.

import { loadRuntime, makeUrl } from "./runtime.js";

const NUM_WORKERS = Math.min(2, navigator.hardwareConcurrency || 1); // each holds a network of its own
const NUM_AT_ONCE = 2; // tasks of one worker: while one is in the network, the photo of the other is decoded

/** Start the first worker, and others behind it. `facts` is what clownfish wrote into the page. */
export async function startPool(facts) {
  const parts = await unpackParts();
  const pool = new Pool();
  const first = await startWorker(facts, parts);
  pool.add(first ?? (await startHere(facts, parts)));
  for (let number = 1; number < NUM_WORKERS && first; number += 1) {
    startWorker(facts, parts).then((other) => other && pool.add(other));
  }
  return pool;
}

class Pool {
  constructor() {
    this.tasks = [];
    this.lanes = [];
    this.number = 0;
  }

  /** Do something with a file; `pair` asks for the places that speak for one class and against the other. */
  ask(file, pair = null) {
    return new Promise((resolve) => {
      const task = { number: (this.number += 1), file, pair, resolve };
      if (pair) this.tasks.unshift(task); // somebody is looking at that one
      else this.tasks.push(task);
      this.send();
    });
  }

  /** Forget what was not begun. */
  clear() {
    this.tasks = [];
  }

  add(port) {
    const lane = { port, running: new Map() };
    this.lanes.push(lane);
    const finish = (number, found) => {
      lane.running.get(number)(found);
      lane.running.delete(number);
    };
    port.onmessage = ({ data }) => {
      finish(data.number, data);
      this.send();
    };
    port.onerror = (error) => {
      for (const number of [...lane.running.keys()]) finish(number, { reason: error.message });
      this.send();
    };
    this.send();
  }

  send() {
    for (let depth = 1; depth <= NUM_AT_ONCE; depth += 1) {
      for (const { port, running } of this.lanes) {
        if (!this.tasks.length || running.size >= depth) continue;
        const { number, file, pair, resolve } = this.tasks.shift();
        running.set(number, resolve);
        port.postMessage({ number, file, pair });
      }
    }
  }
}

/** Returns the worker once it is ready; null if the browser refuses, as some do to pages from files. */
async function startWorker(facts, parts) {
  try {
    const worker = new Worker(makeUrl(readWork()));
    await load(worker, facts, parts);
    return worker;
  } catch {
    return null;
  }
}

/** The same without a worker: the page cannot be used while it is at work. */
async function startHere(facts, parts) {
  await import(makeUrl(readWork()));
  // no MessageChannel: it does not carry a compiled program
  const port = { postMessage: (data) => other.onmessage({ data }) };
  const other = { postMessage: (data) => port.onmessage({ data }) };
  self.serve(other);
  await load(port, facts, parts);
  return port;
}

function load(port, facts, parts) {
  return new Promise((resolve, reject) => {
    port.onmessage = ({ data }) => (data.isReady ? resolve() : reject(new Error(data.reason)));
    port.onerror = (event) => {
      event.preventDefault(); // there is another way
      reject(new Error(event.message));
    };
    port.postMessage({ facts, parts });
  });
}

function readWork() {
  return document.getElementById("work").textContent;
}

/** The runtime is there in two builds; only the one that this browser can run is unpacked. */
async function unpackParts() {
  const decoder = new TextDecoder();
  const read = async (name) => decoder.decode(await unpack(name));
  const [core, helper] = [await read("core.js"), await read("wasm-utils.js")];
  const { supportsFeature } = await loadRuntime({ core, helper });
  const build = (await supportsFeature("relaxedSimd")) ? "litert_wasm_internal" : "litert_wasm_compat_internal";
  const [starter, program, model] = await Promise.all([
    read(`${build}.js`),
    unpack(`${build}.wasm`).then((bytes) => WebAssembly.compile(bytes)), // once for all workers
    unpack("model"),
  ]);
  return { core, helper, starter, program, model };
}

/** Unpack what the page holds under a name. */
async function unpack(name) {
  const element = document.getElementById(name);
  const packed = Uint8Array.from(atob(element.textContent.trim()), (letter) => letter.charCodeAt(0));
  element.remove(); // the text is twice as large in memory
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
