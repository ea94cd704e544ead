// The model, run by LiteRT.js, in a worker or in the page itself.

import { loadRuntime, makeUrl } from "./runtime.js";

const NUM_BEFORE = 1; // runs before the first photo, so that it is not the slow one

/**
 * Start the runtime and load the model.
 *
 * `parts` is what the page holds, unpacked: the texts `core`, `helper` and `starter`, the compiled `program`, and the bytes of the
 * `model`; `facts` is what clownfish wrote into the page.
 */
export async function loadNetwork(parts, facts) {
  const litert = await loadRuntime(parts);
  litert.Environment.create = async () => new litert.Environment({ webGpuDevice: null }); // no graphics card is asked for
  const hasFailed = new Promise((_, reject) => {
    const instantiateWasm = (imports, use) => {
      WebAssembly.instantiate(parts.program, imports).then((instance) => use(instance, parts.program), reject);
      return {}; // it comes later
    };
    self.Module = { instantiateWasm, printErr: report };
  });
  await Promise.race([hasFailed, litert.loadLiteRt(`${makeUrl(parts.starter)}#litert.js`)]);
  const compiled = await litert.loadAndCompile(parts.model, { accelerator: "wasm" });
  const network = new Network(litert, compiled, facts, parts.model);
  const { size } = facts.preprocessing;
  for (let run = 0; run < NUM_BEFORE; run += 1) await network.run(new Uint8Array(size * size * 3));
  return network;
}

/** The runtime writes what it is doing to the same place as errors. */
function report(text) {
  if (!/^(INFO|WARNING):/.test(text)) console.error(text);
}

class Network {
  constructor(litert, compiled, facts, model) {
    this.litert = litert;
    this.compiled = compiled;
    this.size = facts.preprocessing.size;
    this.maps = facts.maps;
    this.weights = facts.maps && readNumbers(model, facts.maps.weights);
    this.mean = facts.maps?.mean ? readNumbers(model, facts.maps.mean) : null;
  }

  /** Run one square. Returns {probabilities, embedding}. */
  async run(pixels) {
    return this.compute(pixels, (read) => ({ probabilities: read("probabilities"), embedding: read("embedding") }));
  }

  /** Tell where in a square the score of one class against another comes from; null if there is nothing to tell. */
  async findPlaces(pixels, answer, rival) {
    if (!this.maps || rival === undefined) return null;
    return this.compute(pixels, (read) => this.locate(read, answer, rival));
  }

  async compute(pixels, use) {
    const image = new this.litert.Tensor(pixels, [1, this.size, this.size, 3]);
    const outputs = await this.compiled.run({ image });
    image.delete();
    // with ".float" where the network computes in integers; what is read is a copy
    const result = use((name) => (outputs[name] ?? outputs[`${name}.float`])?.toTypedArray());
    Object.values(outputs).forEach((tensor) => tensor.delete());
    return result;
  }

  /**
   * What each place adds to the score of one class against another: the sum over channels of weight times (value - mean),
   * for the parts of the features that are means over space (class activation maps, Zhou et al. 2016).
   */
  locate(read, answer, rival) {
    const { side, parts, width } = this.maps;
    const total = new Float32Array(side * side);
    for (const { output, start, channels, side: own } of parts) {
      const values = read(output);
      const plane = new Float32Array(own * own);
      const weights = new Float32Array(channels);
      let offset = 0;
      for (let channel = 0; channel < channels; channel += 1) {
        const column = start + channel;
        weights[channel] = this.weights[answer * width + column] - this.weights[rival * width + column];
        if (this.mean) offset += weights[channel] * this.mean[column];
      }
      for (let place = 0; place < own * own; place += 1) {
        let sum = -offset;
        const from = place * channels;
        for (let channel = 0; channel < channels; channel += 1) sum += weights[channel] * values[from + channel];
        plane[place] = sum;
      }
      addScaled(total, side, plane, own);
    }
    return total;
  }
}

/** Add a plane of another size: averages where it is finer, between four places where it is coarser. */
function addScaled(total, side, plane, own) {
  const ratio = own / side;
  for (let row = 0; row < side; row += 1) {
    for (let column = 0; column < side; column += 1) {
      let value = 0;
      if (ratio >= 1) {
        const [top, left] = [Math.floor(row * ratio), Math.floor(column * ratio)];
        const [bottom, right] = [Math.ceil((row + 1) * ratio), Math.ceil((column + 1) * ratio)];
        for (let y = top; y < bottom; y += 1) for (let x = left; x < right; x += 1) value += plane[y * own + x];
        value /= (bottom - top) * (right - left);
      } else {
        const y = Math.min(Math.max((row + 0.5) * ratio - 0.5, 0), own - 1);
        const x = Math.min(Math.max((column + 0.5) * ratio - 0.5, 0), own - 1);
        const [top, left] = [Math.floor(y), Math.floor(x)];
        const [bottom, right] = [Math.min(top + 1, own - 1), Math.min(left + 1, own - 1)];
        const upper = plane[top * own + left] * (1 - x + left) + plane[top * own + right] * (x - left);
        const lower = plane[bottom * own + left] * (1 - x + left) + plane[bottom * own + right] * (x - left);
        value = upper * (1 - y + top) + lower * (y - top);
      }
      total[row * side + column] += value;
    }
  }
}

/** Numbers that lie inside the model file: {offset, length}. */
function readNumbers(model, { offset, length }) {
  return new Float32Array(model.slice(offset, offset + 4 * length).buffer);
}
