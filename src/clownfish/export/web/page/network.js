// The model, run by LiteRT.js. Everything it needs lies in this page, packed by gzip and written as base64.

const NUM_BEFORE = 1; // runs before the first photo, so that it is not the slow one

/** Unpack what the page holds under a name. */
export async function unpack(name) {
  const element = document.getElementById(name);
  const packed = Uint8Array.from(atob(element.textContent.trim()), (letter) => letter.charCodeAt(0));
  element.remove(); // the text is twice as large in memory
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function makeUrl(content) {
  return URL.createObjectURL(new Blob([content], { type: "text/javascript" }));
}

/** Start the runtime and load the model. `facts` is what clownfish wrote into the page. */
export async function loadNetwork(facts) {
  const decoder = new TextDecoder();
  const helper = makeUrl(await unpack("wasm-utils.js"));
  const core = decoder.decode(await unpack("core.js")).replace('"@litertjs/wasm-utils"', JSON.stringify(helper));
  const litert = await import(makeUrl(core));
  const build = (await litert.supportsFeature("relaxedSimd")) ? "litert_wasm_internal" : "litert_wasm_compat_internal";
  const [starter, program, model] = await Promise.all([unpack(`${build}.js`), unpack(`${build}.wasm`), unpack("model")]);
  litert.Environment.create = async () => new litert.Environment({ webGpuDevice: null }); // no graphics card is asked for
  self.Module = { wasmBinary: program, printErr: report };
  await litert.loadLiteRt(`${makeUrl(starter)}#${build}.js`);
  const compiled = await litert.loadAndCompile(model, { accelerator: "wasm" });
  const network = new Network(litert, compiled, facts, model);
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
    this.numClasses = facts.labels.length;
  }

  /** Run one square. Returns {probabilities, embedding, map}; map(answer, rival) tells where the score comes from. */
  async run(pixels) {
    const image = new this.litert.Tensor(pixels, [1, this.size, this.size, 3]);
    const outputs = await this.compiled.run({ image });
    image.delete();
    const read = (name) => {
      const output = outputs[name] ?? outputs[`${name}.float`]; // so called where the network computes in integers
      return output?.toTypedArray(); // a copy
    };
    const probabilities = read("probabilities");
    const embedding = read("embedding");
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    const map = this.maps && this.numClasses > 1 ? this.locate(read, order[0], order[1]) : null;
    Object.values(outputs).forEach((tensor) => tensor.delete());
    return { probabilities, embedding, map };
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
