// Draws a slice: its image or embedding, the outlines of its mask, the decoder's answer, and the prompt.

const FILL_OPACITY = 0.45;
const OUTLINE = 400; // an outline is one of so many parts of the side wide
const NEUTRAL = "#ffffff"; // color of an answer that overlaps no structure

// Turn {size, lengths, values}, the runs of a mask, into an array of size * size labels.
function expandRuns({ size, lengths, values }) {
  const labels = new Uint8Array(size * size);
  let start = 0;
  lengths.forEach((length, index) => {
    labels.fill(values[index], start, start + length);
    start += length;
  });
  return labels;
}

// Turn #rrggbb and an opacity from 0 to 1 into a pixel of ImageData, whose bytes are red, green, blue and opacity.
function pixelOf(color, opacity) {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
  return ((Math.round(255 * opacity) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

// Paint the pixels (size * size) that `fill(pixels)` sets.
function paint(size, fill) {
  const layer = new OffscreenCanvas(size, size);
  const context = layer.getContext("2d");
  const image = context.createImageData(size, size);
  fill(new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
  return layer;
}

// Fill the runs of an answer; `colors` is a Map from the values of labels.
export function paintAnswer({ size, lengths, values }, colors) {
  return paint(size, (pixels) => {
    let start = 0;
    lengths.forEach((length, index) => {
      const value = values[index];
      if (value) pixels.fill(pixelOf(colors.get(value) ?? NEUTRAL, FILL_OPACITY), start, start + length);
      start += length;
    });
  });
}

// Draw the outlines of the labels in a mask, inside of each structure.
export function paintOutlines(mask, colors) {
  const labels = expandRuns(mask);
  const reach = Math.max(1, Math.round(mask.size / OUTLINE));
  const neighbors = [-reach, reach, -reach * mask.size, reach * mask.size];
  return paint(mask.size, (pixels) => {
    labels.forEach((label, index) => {
      if (colors.has(label) && neighbors.some((step) => labels[index + step] !== label)) {
        pixels[index] = pixelOf(colors.get(label), 1);
      }
    });
  });
}

function drawBox(context, [x0, y0, x1, y1], scale) {
  // White on black, so that it is seen on any image.
  for (const [color, dash] of [["#000", []], ["#fff", [8, 8]]]) {
    context.strokeStyle = color;
    context.lineWidth = 3;
    context.setLineDash(dash);
    context.strokeRect(x0 * scale, y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale);
  }
  context.setLineDash([]);
}

function drawPoint(context, [x, y], inside, scale) {
  const [left, top, arm] = [x * scale, y * scale, 7];
  context.beginPath();
  context.arc(left, top, 13, 0, 2 * Math.PI);
  context.fillStyle = inside ? "#fff" : "#000";
  context.strokeStyle = inside ? "#000" : "#fff";
  context.lineWidth = 3;
  context.fill();
  context.stroke();
  context.beginPath();
  context.moveTo(left - arm, top);
  context.lineTo(left + arm, top);
  if (inside) {
    context.moveTo(left, top - arm);
    context.lineTo(left, top + arm);
  }
  context.stroke();
}

function drawCross(context, [x, y], scale) {
  for (const [color, width] of [["#000", 5], ["#fff", 2]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x * scale - 24, y * scale);
    context.lineTo(x * scale + 24, y * scale);
    context.moveTo(x * scale, y * scale - 24);
    context.lineTo(x * scale, y * scale + 24);
    context.stroke();
  }
}

// Draw everything. Coordinates of the prompt are in pixels of an image of `promptSize`.
export function drawPicture(canvas, { background, outlines, answer, box, points, inside, cross, promptSize }) {
  const context = canvas.getContext("2d");
  const scale = canvas.width / promptSize;
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const layer of [background, answer, outlines]) {
    if (layer) {
      // The positions of an embedding are larger than pixels, and are shown as they are.
      context.imageSmoothingEnabled = layer.width > 64;
      context.drawImage(layer, 0, 0, canvas.width, canvas.height);
    }
  }
  if (box) drawBox(context, box, scale);
  points.forEach((point, index) => drawPoint(context, point, inside[index], scale));
  if (cross) drawCross(context, cross, scale);
}
