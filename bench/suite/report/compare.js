// Comparison of two versions of a picture with a slider, and the residual of each version.

const viewer = { comparison: null, left: 0, right: 1 };

function pickPicture(index) {
  const comparison = comparisons[index];
  const labels = comparison.images.map((image, i) => [String(i), image.label]);
  // Keep the chosen codecs for the next picture if it has them.
  viewer.left = Math.min(viewer.left, labels.length - 1);
  viewer.right = Math.min(viewer.right, labels.length - 1);
  viewer.comparison = comparison;
  for (const side of ["left", "right"]) fill(find(`${side}-select`), labels, String(viewer[side]));
  zoom();
  showSide("left");
  showSide("right");
}

function showSide(side) {
  const { comparison } = viewer;
  const image = comparison.images[viewer[side]];
  const [picture, canvas] = find(`${side}-side`).children;
  picture.src = image.source;
  picture.alt = `${comparison.picture}: ${image.label}`;
  const residual = find("compare-residual").checked;
  picture.hidden = residual;
  canvas.hidden = !residual;
  if (residual) drawResidual(canvas, image, comparison.images.at(-1));
  const lines = [image.label];
  if (isNumber(image.bytes)) {
    lines.push(`${fixed(image.bytes, 0)} bytes`);
    if (isNumber(image.figures?.bpp)) lines.push(`${fixed(image.figures.bpp, 3)} bpp`);
  }
  for (const m of summary.metrics ?? []) {
    if (isNumber(image.figures?.[m.key])) lines.push(`${m.label}: ${quality(image.figures[m.key], m)}`);
  }
  find(`${side}-caption`).replaceChildren(...lines.map((line, i) => make(i ? "span" : "b", {}, line)));
}

async function pixelsOf({ source }, { width, height }) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, width, height);
}

async function drawResidual(canvas, image, original) {
  const { comparison } = viewer;
  const wanted = `${comparison.picture} ${image.label} ${find("compare-gain").value}`;
  canvas.dataset.wanted = wanted;
  const [a, b] = await Promise.all([pixelsOf(image, comparison), pixelsOf(original, comparison)]);
  if (canvas.dataset.wanted !== wanted) return;  // the reader has changed the selection
  const gain = Number(find("compare-gain").value);
  for (let i = 0; i < a.data.length; i++) {
    if (i % 4 < 3) a.data[i] = gain * Math.abs(a.data[i] - b.data[i]);  // clamps at 255
  }
  Object.assign(canvas, { width: a.width, height: a.height });
  canvas.getContext("2d").putImageData(a, 0, 0);
  canvas.dataset.shown = wanted;
}

function zoom() {
  const { width, height } = viewer.comparison;
  const factor = Number(find("compare-zoom").value);
  const frame = find("frame");
  frame.style.width = factor ? `${factor * width}px` : "auto";
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.classList.toggle("zoomed", factor > 0);
  // "To fit" never enlarges the picture, so that the reader sees its own pixels.
  find("viewer").style.maxWidth = factor ? "none" : `min(${width}px, ${(80 * width) / height}vh)`;
}

function divide(percent) {
  const slider = find("compare-slider");
  slider.value = percent;
  slider.setAttribute("aria-valuetext", `left version: ${Math.round(slider.value)} % of the width`);
  find("left-side").style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
  find("divider").style.left = `${slider.value}%`;
}

function setUpViewer() {
  if (!comparisons.length) return;
  const pictures = find("compare-picture");
  fill(pictures, comparisons.map((c, i) => [String(i), c.picture]), "0");
  pictures.addEventListener("change", () => pickPicture(Number(pictures.value)));
  for (const side of ["left", "right"]) {
    find(`${side}-select`).addEventListener("change", (event) => {
      viewer[side] = Number(event.target.value);
      showSide(side);
    });
  }
  const both = () => ["left", "right"].forEach(showSide);
  find("compare-residual").addEventListener("change", both);
  find("compare-gain").addEventListener("change", both);
  find("compare-zoom").addEventListener("change", zoom);
  find("compare-slider").addEventListener("input", (event) => divide(event.target.value));
  const frame = find("frame");
  const drag = (event) => {
    const box = frame.getBoundingClientRect();
    divide((100 * (event.clientX - box.left)) / box.width);
  };
  frame.addEventListener("pointerdown", (event) => {
    frame.setPointerCapture(event.pointerId);
    drag(event);
  });
  // Focus the slider, so that the arrow keys move it.
  frame.addEventListener("pointerup", () => find("compare-slider").focus({ preventScroll: true }));
  frame.addEventListener("pointermove", (event) => frame.hasPointerCapture(event.pointerId) && drag(event));
  divide(50);
  pickPicture(0);
}
