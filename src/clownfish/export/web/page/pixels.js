// A photo to the square that the network sees: the arithmetic of clownfish's images.py, which is Pillow's, in the same
// order. What a browser's canvas does when it makes pictures smaller differs, and moves probabilities by up to 0.04.

const SHARPNESS = -0.5; // of the bicubic filter
const BITS = 22; // of its weights, which are whole numbers of 1 / 2 ** BITS
const HALF = 1 << (BITS - 1);
const GREY = 127;

/** Decode a file, upright, colours as they are stored, on white. Returns {data (RGBA), width, height, canvas, isJpeg}. */
export async function decodePhoto(file) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "default" };
  const [bitmap, isJpeg] = await Promise.all([createImageBitmap(file, options), startsAsJpeg(file)]);
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  context.fillStyle = "#fff";
  if (!isJpeg) context.fillRect(0, 0, width, height); // a JPEG has nothing to see through
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: context.getImageData(0, 0, width, height).data, width, height, canvas, isJpeg };
}

/** Tell by its first bytes whether a file is a JPEG, which Pillow makes smaller while it decodes. */
async function startsAsJpeg(file) {
  const start = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  return start[0] === 0xff && start[1] === 0xd8 && start[2] === 0xff;
}

/** Bring a decoded photo to the square. `preprocessing` is {size, resize}; returns RGB, size * size * 3 bytes. */
export function prepareSquare(photo, preprocessing) {
  const { size, resize } = preprocessing;
  const whole = { data: photo.data, width: photo.width, height: photo.height, step: 4 };
  const image = photo.isJpeg ? draft(whole, preprocessing) : whole;
  if (resize === "crop") {
    const side = Math.min(image.width, image.height);
    const left = Math.floor((image.width - side) / 2);
    const top = Math.floor((image.height - side) / 2);
    return readBytes(scale(cut(image, left, top, side, side), size, size));
  }
  if (resize === "pad") {
    const factor = size / Math.max(image.width, image.height);
    const width = Math.max(1, roundHalfEven(image.width * factor));
    const height = Math.max(1, roundHalfEven(image.height * factor));
    return paste(scale(image, width, height), size);
  }
  return readBytes(scale(image, size, size));
}

/** The runtime takes no clamped arrays. */
function readBytes({ data }) {
  return new Uint8Array(data.buffer);
}

/** libjpeg can decode at 1/2, 1/4 and 1/8 of the size; averages over squares come close to what it does. */
function draft(image, { size, resize }) {
  let [width, height] = [size, size];
  if (resize === "pad") {
    const factor = size / Math.max(image.width, image.height);
    width = Math.max(1, roundHalfEven(image.width * factor));
    height = Math.max(1, roundHalfEven(image.height * factor));
  }
  const smaller = Math.min(Math.floor(image.width / width), Math.floor(image.height / height));
  const divisor = [8, 4, 2].find((candidate) => smaller >= candidate) ?? 1;
  return divisor === 1 ? image : average(image, divisor, divisor);
}

function cut(image, left, top, width, height) {
  const { data: old, step } = image;
  const data = new Uint8Array(width * height * step);
  for (let row = 0; row < height; row += 1) {
    const start = ((top + row) * image.width + left) * step;
    data.set(old.subarray(start, start + width * step), row * width * step);
  }
  return { data, width, height, step };
}

function paste(inner, size) {
  const square = new Uint8Array(size * size * 3).fill(GREY);
  const left = Math.floor((size - inner.width) / 2);
  const top = Math.floor((size - inner.height) / 2);
  for (let row = 0; row < inner.height; row += 1) {
    const start = row * inner.width * 3;
    square.set(inner.data.subarray(start, start + inner.width * 3), ((top + row) * size + left) * 3);
  }
  return square;
}

/** Pillow's resize with BICUBIC and reducing_gap=2: averages over whole pixels first, then the filter. */
function scale(image, width, height) {
  const across = Math.max(1, Math.floor(image.width / width / 2));
  const down = Math.max(1, Math.floor(image.height / height / 2));
  const reduced = across > 1 || down > 1 ? average(image, across, down) : image;
  // the averaged picture may have a last column of fewer pixels, so its true width is a fraction
  const horizontal = weigh(reduced.width, image.width / across, width);
  const vertical = weigh(reduced.height, image.height / down, height);
  return filterColumns(filterRows(reduced, horizontal, width), vertical, height);
}

/** Averages over rectangles of across * down pixels, rounded; at the right and lower edge over what is there. */
function average(image, across, down) {
  const width = Math.ceil(image.width / across);
  const height = Math.ceil(image.height / down);
  const { data: old, step } = image;
  const data = new Uint8Array(width * height * 3);
  const sums = new Uint32Array(width * 3);
  for (let row = 0; row < height; row += 1) {
    sums.fill(0);
    const lowest = Math.min(image.height, (row + 1) * down);
    for (let y = row * down; y < lowest; y += 1) {
      let from = y * image.width * step;
      for (let column = 0; column < width; column += 1) {
        const last = Math.min(image.width, (column + 1) * across);
        let [red, green, blue] = [0, 0, 0];
        for (let x = column * across; x < last; x += 1, from += step) {
          red += old[from];
          green += old[from + 1];
          blue += old[from + 2];
        }
        sums[column * 3] += red;
        sums[column * 3 + 1] += green;
        sums[column * 3 + 2] += blue;
      }
    }
    for (let column = 0; column < width; column += 1) {
      const number = (lowest - row * down) * (Math.min(image.width, (column + 1) * across) - column * across);
      const half = number >> 1; // rounds
      const to = (row * width + column) * 3;
      data[to] = (sums[column * 3] + half) / number;
      data[to + 1] = (sums[column * 3 + 1] + half) / number;
      data[to + 2] = (sums[column * 3 + 2] + half) / number;
    }
  }
  return { data, width, height, step: 3 };
}

function bicubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * SHARPNESS;
  return 0;
}

/** For each new pixel: the first old one, how many, and their weights. */
function weigh(oldSize, extent, newSize) {
  const step = extent / newSize;
  const stretch = Math.max(step, 1); // the filter widens with the reduction
  const support = 2 * stretch;
  const most = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(newSize);
  const counts = new Int32Array(newSize);
  const exact = new Float64Array(most);
  const weights = new Int32Array(newSize * most);
  for (let place = 0; place < newSize; place += 1) {
    const centre = (place + 0.5) * step;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(oldSize, Math.trunc(centre + support + 0.5)) - start;
    let total = 0;
    for (let tap = 0; tap < count; tap += 1) {
      const weight = bicubic((tap + start - centre + 0.5) / stretch);
      exact[tap] = weight;
      total += weight;
    }
    for (let tap = 0; tap < count; tap += 1) {
      const weight = (exact[tap] / total) * 2 ** BITS;
      weights[place * most + tap] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    starts[place] = start;
    counts[place] = count;
  }
  return { starts, counts, weights, most };
}

// Sums stay below 2 ** 31, and a clamped array cuts off what is no byte.

function filterRows(image, { starts, counts, weights, most }, width) {
  const { height, data: old, step } = image;
  const data = new Uint8ClampedArray(width * height * 3);
  let to = 0;
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1, to += 3) {
      let from = (row * image.width + starts[column]) * step;
      let [red, green, blue] = [HALF, HALF, HALF];
      const end = column * most + counts[column];
      for (let tap = column * most; tap < end; tap += 1, from += step) {
        const weight = weights[tap];
        red = (red + weight * old[from]) | 0;
        green = (green + weight * old[from + 1]) | 0;
        blue = (blue + weight * old[from + 2]) | 0;
      }
      data[to] = red >> BITS;
      data[to + 1] = green >> BITS;
      data[to + 2] = blue >> BITS;
    }
  }
  return { data, width, height, step: 3 };
}

function filterColumns(image, { starts, counts, weights, most }, height) {
  const { data: old } = image;
  const stride = image.width * 3;
  const data = new Uint8ClampedArray(stride * height);
  const sums = new Int32Array(stride);
  for (let row = 0; row < height; row += 1) {
    sums.fill(HALF);
    for (let tap = 0; tap < counts[row]; tap += 1) {
      const weight = weights[row * most + tap];
      const from = (starts[row] + tap) * stride;
      for (let place = 0; place < stride; place += 1) sums[place] += weight * old[from + place];
    }
    const to = row * stride;
    for (let place = 0; place < stride; place += 1) data[to + place] = sums[place] >> BITS;
  }
  return { data, width: image.width, height, step: 3 };
}

/** As Python rounds. */
function roundHalfEven(number) {
  const rounded = Math.round(number);
  return rounded - number === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
