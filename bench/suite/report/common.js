// Data, small helpers and the choices of the reader, shared by all parts. The parts are joined in
// order into one module.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const summary = read("summary");
const comparisons = read("comparisons");
const codecs = summary.codecs ?? [];
const curves = codecs.filter((c) => c.kind !== "lossless" && c.points?.length);
const measured = curves.filter((c) => c.kind === "lossy");
const SPEEDS = [
  ["encode_mps_1", "encode, one core"], ["decode_mps_1", "decode, one core"],
  ["encode_mps_all", "encode, all cores"], ["decode_mps_all", "decode, all cores"],
];

const find = (id) => document.getElementById(id);
const isNumber = Number.isFinite;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Create an element. Strings become text, never markup, so that a file name cannot run code. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const shortened = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

/** Escape HTML, because plotly interprets some HTML in names and hover texts. */
const escaped = (text) => String(text).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

function fixed(value, digits) {
  if (!isNumber(value)) return "–";
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString("en", options).replace("-", "−");
}

/** Format with at least three digits and with all digits before the point. */
const significant = (value) => fixed(value, value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
const unitOf = (metric) => (metric.unit ? ` ${metric.unit}` : "");
const quality = (value, metric) => fixed(value, 2) + (isNumber(value) ? unitOf(metric) : "");
const axisTitle = (metric) => metric.label + (metric.unit ? ` (${metric.unit})` : "");
const nameOf = (codec) => codec.label + (codec.kind === "published" ? ", published" : "");
const extent = (values) => [Math.min(...values), Math.max(...values)];

/** Figures of a point for one picture, or the means. */
const figuresOf = (point, picture) => (picture ? point.pictures?.[picture] : point.mean) ?? {};

/** Points of a codec that have a rate and this metric, sorted by rate. */
function curveOf(codec, metric, picture) {
  return codec.points
    .map((point) => ({ point, figures: figuresOf(point, picture) }))
    .filter(({ figures }) => figures.bpp > 0 && isNumber(figures[metric]))
    .sort((a, b) => a.figures.bpp - b.figures.bpp);
}

const pictureNames = (summary.pictures ?? []).map((p) => p.name)
  .filter((name) => measured.some((c) => c.points.some((p) => p.pictures?.[name])));
const metrics = (summary.metrics ?? [])
  .filter((m) => ["", ...pictureNames].some((name) => curves.some((c) => curveOf(c, m.key, name).length)));
const speeds = SPEEDS.filter(([key]) => measured.some((c) => c.points.some((p) => isNumber(p.mean?.[key]))));
const anchors = summary.bd_rate?.anchors ?? [];
const count = pictureNames.length;
const missing = (point) => count - Object.keys(point.pictures ?? {}).length;

const state = {};  // metric, picture, anchor, speed; level: the quality at which speed is compared
const choices = {
  metric: metrics.map((m) => [m.key, m.label]),
  picture: count < 2
    ? [["", pictureNames[0] ?? "–"]]
    : [["", `mean of ${count} pictures`], ...pictureNames.map((name) => [name, name])],
  anchor: anchors.map((a) => [a.name, nameOf({ ...codecs.find((c) => c.name === a.name), label: a.label })]),
  speed: speeds,
};

function fill(select, options, value) {
  select.replaceChildren(...options.map(([key, label]) => make("option", { value: key }, label)));
  select.value = value;
  select.disabled = options.length < 2;
  select.closest(".choice").hidden = !options.length;
}

/** Selectors with the same name show and set the same choice, wherever they are on the page. */
function setUpChoices() {
  for (const [name, options] of Object.entries(choices)) {
    state[name] = (options.find(([key]) => key === "decode_mps_1") ?? options[0])?.[0] ?? null;
    const selects = [...document.querySelectorAll(`[data-choice=${name}]`)];
    for (const select of selects) {
      fill(select, options, state[name]);
      select.addEventListener("change", () => {
        state[name] = select.value;
        for (const other of selects) other.value = select.value;
        if (name === "metric") resetLevel();
        draw();
      });
    }
  }
}

const currentMetric = () => metrics.find((m) => m.key === state.metric);
