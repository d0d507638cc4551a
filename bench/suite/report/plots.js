// Plots of rate and distortion, and of rate and speed at one quality.

const DASHES = ["dash", "dot", "dashdot", "longdash"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross"];

const LEGEND_BELOW = {  // in two columns
  orientation: "h", x: 0, y: -0.2, yanchor: "top", entrywidth: 0.46, entrywidthmode: "fraction", font: { size: 11 },
};

/**
 * Each codec has the same colour in all plots and tables. Our codecs have warm colours. Published
 * curves are gray and dashed.
 */
const styles = new Map();
function setUpStyles() {
  const counts = { ours: 0, published: 0, series: 0 };
  for (const codec of codecs) {
    const kind = codec.ours ? "ours" : codec.kind === "published" ? "published" : "series";
    const index = counts[kind]++;
    styles.set(codec.name, {
      kind,
      colour: kind === "published" ? "--published" : `--${kind}-${index % (kind === "ours" ? 3 : 10)}`,
      dash: kind === "published" ? DASHES[index % 4] : "solid",
      symbol: kind === "published" ? `${SYMBOLS[index % 5]}-open` : SYMBOLS[Math.floor(index / 2) % 5],
    });
  }
}

// The uid contains no codec name, because plotly uses it as a class name.
const uidOf = (codec) => `codec-${codecs.indexOf(codec)}`;

function marker(codec) {
  const { kind, colour, symbol } = styles.get(codec.name);
  return { color: css(colour), symbol, size: { ours: 9, series: 6, published: 5 }[kind] };
}

function axis(title, options) {
  return {
    title: { text: title }, gridcolor: css("--line"), linecolor: css("--line"), zeroline: false,
    ticks: "outside", tickcolor: css("--line"), automargin: true, ...options,
  };
}

/**
 * Logarithmic axis. Ticks are plain numbers at 1, 2 and 5 of each decade. There are more ticks when
 * the reader zooms in.
 */
function logAxis(title, [low, high], options) {
  const span = Math.log10(high / low) || 1;
  return axis(title, { type: "log", nticks: Math.max(3, Math.ceil(span / 0.5)), tickformat: ".4~r", ...options });
}

function plot(id, traces, layout, note) {
  const host = find(id);
  find(id.replace("plot", "note")).textContent = note;
  host.classList.toggle("empty", !traces.length);
  if (!traces.length) {
    Plotly.purge(host);
    return;
  }
  const touch = matchMedia("(pointer: coarse)").matches;
  Plotly.react(host, traces, {
    autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("--text") },
    hoverlabel: {
      bgcolor: css("--panel"), bordercolor: css("--line"), align: "left", font: { color: css("--text"), size: 13 },
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--quiet"), activecolor: css("--text") },
    margin: { l: 50, r: 10, t: 34, b: 50 },
    dragmode: touch ? false : "zoom",  // a touch on the plot still scrolls the page
    ...layout,
  }, {
    displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  });
}

function hoverText(codec, point, figures, picture) {
  const metric = currentMetric();
  const lines = [
    `<b>${escaped(nameOf(codec))}</b>${point.setting ? `, ${escaped(point.setting)}` : ""}`,
    `${fixed(figures.bpp, 3)} bpp, ${escaped(quality(figures[metric.key], metric))}`,
  ];
  for (const [suffix, cores] of [["1", "one core"], ["all", "all cores"]]) {
    const [encode, decode] = ["encode", "decode"].map((way) => figures[`${way}_mps_${suffix}`]);
    if (isNumber(encode) || isNumber(decode)) {
      lines.push(`${cores}: encode ${significant(encode)}, decode ${significant(decode)} MP/s`);
    }
  }
  if (codec.kind !== "published" && !picture && missing(point)) {
    lines.push(`mean of only ${count - missing(point)} pictures`);
  }
  return lines.join("<br>");
}

function drawRate() {
  const metric = currentMetric();
  if (!metric) return plot("rate-plot", [], {}, "No codec was measured on any picture.");
  const narrow = find("rate-plot").clientWidth < 700;
  const traces = [];
  for (const codec of curves) {
    const points = curveOf(codec, metric.key, state.picture);
    if (!points.length) continue;
    const { kind, dash } = styles.get(codec.name);
    traces.push({
      uid: uidOf(codec), name: escaped(shortened(nameOf(codec), narrow ? 19 : 60)),
      type: "scatter", mode: "lines+markers",
      x: points.map((p) => p.figures.bpp), y: points.map((p) => p.figures[metric.key]),
      text: points.map((p) => hoverText(codec, p.point, p.figures, state.picture)),
      hovertemplate: "%{text}<extra></extra>",
      line: { color: marker(codec).color, width: (kind === "ours" ? 3.5 : 1.5) * (narrow ? 0.7 : 1), dash },
      marker: marker(codec),
      opacity: kind === "published" ? 0.85 : 1, zorder: kind === "ours" ? 1 : 0,
      legendrank: { ours: 1, series: 2, published: 3 }[kind],
    });
  }
  plot("rate-plot", traces, {
    height: narrow ? 440 + 12 * traces.length : 560,
    // Curves that the reader hid stay hidden. A change of the metric or the picture resets a zoom.
    uirevision: "kept",
    xaxis: logAxis("bits per pixel", extent(traces.flatMap((t) => t.x)), { uirevision: state.metric + state.picture }),
    yaxis: axis(axisTitle(metric), { uirevision: state.metric + state.picture }),
    legend: narrow ? LEGEND_BELOW : { x: 1.01, y: 1 },
  }, traces.length ? rateNote() : `There are no values of ${metric.label} for this selection.`);
}

function rateNote() {
  const published = curves.some((c) => c.kind === "published");
  return state.picture && published ? "Published curves are means, so they are not shown for a single picture." : "";
}

/** Log-linear interpolation between the two settings around a quality. Null outside the curve. */
function interpolate(points, metric, level, key) {
  for (let i = 1; i < points.length; i++) {
    const [a, b] = [points[i - 1].figures, points[i].figures];
    if ((a[metric] - level) * (b[metric] - level) > 0 || a[metric] === b[metric]) continue;
    const share = (level - a[metric]) / (b[metric] - a[metric]);
    const value = Math.exp((1 - share) * Math.log(a[key]) + share * Math.log(b[key]));
    return isNumber(value) && value > 0 ? value : null;
  }
  return null;
}

/**
 * Set the level to the middle of the range that all codecs share, or of the whole range if they
 * share none.
 */
function resetLevel() {
  const ranges = measured.map((c) => curveOf(c, state.metric, "").map((p) => p.figures[state.metric]))
    .filter((values) => values.length > 1).map(extent);
  const hidden = !ranges.length;
  document.querySelector(".level").hidden = hidden;
  if (hidden) return;
  const whole = extent(ranges.flat());
  const shared = [Math.max(...ranges.map((r) => r[0])), Math.min(...ranges.map((r) => r[1]))];
  const [low, high] = shared[0] < shared[1] ? shared : whole;
  for (const input of [find("level-range"), find("level-number")]) {
    Object.assign(input, { min: Math.ceil(whole[0] * 10) / 10, max: Math.floor(whole[1] * 10) / 10, step: 0.1 });
  }
  find("level-unit").textContent = currentMetric().unit ?? "";
  setLevel(Math.round(5 * (low + high)) / 10);
}

function setLevel(level) {
  state.level = level;
  for (const input of [find("level-range"), find("level-number")]) {
    if (input !== document.activeElement || Number(input.value) !== level) input.value = level.toFixed(1);
  }
}

/**
 * For each label the side of its point on which it covers the fewest other points and labels. There
 * are three rounds, because a label that was placed early may have a better side later.
 */
function labelSides(dots, labels, room) {
  const height = 15;
  const apart = (a, b) => Math.abs(a.x - b.x) * 2 > a.width + b.width || Math.abs(a.y - b.y) * 2 > a.height + b.height;
  const placed = dots.map(() => null);
  for (let round = 0; round < 3; round++) {
    dots.forEach(({ x, y }, index) => {
      const width = 6.5 * labels[index].length;
      const sides = [];
      for (const [vertical, top] of [["middle", y], ["top", y - 15], ["bottom", y + 15]]) {
        const gap = vertical === "middle" ? 9 : 0;
        sides.push([`${vertical} right`, x + gap + width / 2, top], [`${vertical} left`, x - gap - width / 2, top]);
        if (!gap) sides.push([`${vertical} center`, x, top]);
      }
      const others = [...dots, ...placed].filter((box, i) => box && i % dots.length !== index);
      const cost = (box) => others.filter((other) => !apart(box, other)).length
        + (box.x - width / 2 < 0 || box.x + width / 2 > room ? 10 : 0);
      placed[index] = sides.map(([side, left, top]) => ({ side, x: left, y: top, width, height }))
        .reduce((best, box) => (cost(box) < cost(best) ? box : best));
    });
  }
  return placed.map((box) => box.side);
}

function drawSpeed() {
  const metric = currentMetric();
  if (!metric || !speeds.length) return plot("speed-plot", [], {}, "No speeds were measured.");
  const points = [];
  const absent = [];
  for (const codec of measured) {
    const curve = curveOf(codec, metric.key, "");
    const [x, y] = [state.speed, "bpp"].map((key) => interpolate(curve, metric.key, state.level, key));
    if (x && y) points.push({ codec, x, y });
    else absent.push(codec.label);
  }
  const level = `${fixed(state.level, 1)}${unitOf(metric)}`;
  const note = absent.length
    ? `Not shown, because the curve does not reach ${level} or has no speed: ${absent.join(", ")}.` : "";
  if (!points.length) return plot("speed-plot", [], {}, note);

  const width = find("speed-plot").clientWidth - 80;
  const height = 460;
  const padded = (values, share) => {
    const [low, high] = extent(values).map(Math.log10);
    const room = share * Math.max(high - low, 0.3);
    return [low - room, high + room];
  };
  const xRange = padded(points.map((p) => p.x), width < 500 ? 0.35 : 0.15);
  const yRange = padded(points.map((p) => p.y), 0.15);
  const part = (value, [low, high]) => (Math.log10(value) - low) / (high - low);
  const dots = points.map(({ x, y }) => (
    { x: part(x, xRange) * width, y: (1 - part(y, yRange)) * (height - 84), width: 12, height: 12 }));
  const sides = labelSides(dots, points.map((p) => p.codec.label), width);
  const ranged = (range) => ({ range, uirevision: JSON.stringify([state.metric, state.speed, state.level]) });
  const title = `${speeds.find(([key]) => key === state.speed)[1]} (megapixels per second)`;
  plot("speed-plot", points.map(({ codec, x, y }, index) => ({
    uid: uidOf(codec), name: escaped(codec.label), type: "scatter", mode: "markers+text", x: [x], y: [y],
    text: [`\u00a0${escaped(codec.label)}\u00a0`], textposition: sides[index], cliponaxis: false, showlegend: false,
    textfont: {
      color: css(codec.ours ? styles.get(codec.name).colour : "--text"),
      size: width < 500 ? 11 : 12, weight: codec.ours ? 600 : 400,
    },
    marker: { ...marker(codec), size: codec.ours ? 13 : 10 },
    hovertext: [`<b>${escaped(codec.label)}</b><br>${fixed(y, 3)} bpp at ${escaped(level)}<br>${significant(x)} MP/s`],
    hovertemplate: "%{hovertext}<extra></extra>",
  })), {
    height,
    xaxis: logAxis(title, xRange.map((v) => 10 ** v), ranged(xRange)),
    yaxis: logAxis(`bits per pixel at ${escaped(level)}`, yRange.map((v) => 10 ** v), ranged(yRange)),
  }, note);
}
