// Sortable tables.

/**
 * Comparison for sorting, ascending for a sign of 1. Numbers in text are compared by value. Missing
 * values come last in both directions.
 */
function ordered(a, b, sign) {
  const [noA, noB] = [a, b].map((v) => v === null || v === undefined || Number.isNaN(v));
  if (noA || noB) return noA - noB;
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), "en", { numeric: true });
}

/**
 * Draw a table that can be sorted by any column. `columns`: title, value(row) to sort by, cell(row)
 * to show (text or an element), number: whether to align right. `order`: the initial column and
 * direction. Without them the rows keep their order, and a line separates the codecs.
 */
function drawTable(host, name, columns, rows, order = {}) {
  const body = make("tbody");
  const heads = columns.map((column) => make("th", { scope: "col", class: column.number ? "number" : "" }));
  const cell = (row, column, index) => {
    const element = index ? make("td") : make("th", { scope: "row" });
    if (column.number) element.className = "number";
    element.append(column.cell(row));
    return element;
  };
  const sort = () => {
    const { column, sign } = order;
    const value = columns[column]?.value;
    const sorted = value ? [...rows].sort((a, b) => ordered(value(a), value(b), sign)) : rows;
    heads.forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    body.replaceChildren(...sorted.map((row, index) => {
      const element = make("tr", {}, ...columns.map((each, i) => cell(row, each, i)));
      element.classList.toggle("ours", Boolean(row.codec.ours));
      element.classList.toggle("first", !value && row.codec !== sorted[index - 1]?.codec);
      return element;
    }));
  };
  columns.forEach((column, index) => {
    const button = make("button", { type: "button" }, column.title);
    button.addEventListener("click", () => {
      order = { column: index, sign: order.column === index ? -order.sign : 1 };
      sort();
    });
    heads[index].append(button);
  });
  sort();
  const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name });
  scroll.append(make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body));
  host.replaceChildren(scroll);
}

const drawNone = (host, text) => host.replaceChildren(make("p", { class: "notice" }, text));

const whole = (value) => fixed(value, 0);
const numeric = (title, value, show) => ({ title, value, number: true, cell: (row) => show(value(row)) });

function label(codec) {
  const swatch = make("span", { class: "swatch" });
  swatch.style.background = `var(${styles.get(codec.name)?.colour ?? "--quiet"})`;
  return make("span", {}, swatch, nameOf(codec));
}

const codecColumn = { title: "Codec", value: (row) => nameOf(row.codec), cell: (row) => label(row.codec) };

/** Columns of speed and memory for which at least one row has a value. */
function costColumns(rows) {
  const speed = SPEEDS.map(([key, name]) => (
    numeric(`${name.replace(", ", "\n")}\nMP/s`, (r) => r.point.mean?.[key], significant)));
  const memory = ["encode", "decode"].map((way) => (
    numeric(`${way}\nmemory\nMiB`, (r) => r.codec.memory?.[way], whole)));
  return [...speed, ...memory].filter((column) => rows.some((row) => isNumber(column.value(row))));
}

const rowsOf = (list) => list.flatMap((codec) => (codec.points ?? []).map((point) => ({ codec, point })));
const settingColumn = {
  title: "Setting", value: (row) => row.point.setting, cell: (row) => String(row.point.setting ?? "–"),
};
const rateColumn = numeric("bpp", (r) => r.point.mean?.bpp, (v) => fixed(v, 3));

function drawPoints() {
  const host = find("points-table");
  const rows = rowsOf(codecs);
  if (!rows.length) return drawNone(host, "There are no points.");
  const qualities = metrics.map((m) => (
    numeric(axisTitle(m).replace(/,? (?=\(|\w+ \()/g, "\n"), (r) => r.point.mean?.[m.key], (v) => fixed(v, 2))));
  const columns = [codecColumn, settingColumn, rateColumn, ...qualities, ...costColumns(rows)];
  const taken = (row) => (row.codec.kind === "published" ? null : count - missing(row.point));
  if (rows.some((row) => taken(row) !== null && taken(row) < count)) columns.push(numeric("pictures", taken, whole));
  drawTable(host, "All points", columns, rows);
}

function drawLossless() {
  const host = find("lossless-table");
  const rows = rowsOf(codecs.filter((c) => c.kind === "lossless")).filter((r) => r.point.mean?.bpp > 0);
  if (!rows.length) return drawNone(host, "No lossless codec was measured.");
  const ratio = numeric("raw : file", (r) => 24 / r.point.mean.bpp, (v) => `${fixed(v, 2)} : 1`);
  const columns = [codecColumn, settingColumn, rateColumn, ratio, ...costColumns(rows)];
  drawTable(host, "Lossless codecs", columns, rows, { column: columns.indexOf(rateColumn), sign: 1 });
}

function bdCell(entry, metric) {
  if (!entry) return "–";
  if (!isNumber(entry.percent)) return make("span", { title: entry.note ?? "" }, "n/a");
  const figure = make("span", { class: entry.percent < 0 ? "fewer" : "more" });
  figure.textContent = `${entry.percent > 0 ? "+" : ""}${fixed(entry.percent, 1)} %`;
  const known = isNumber(entry.low) && isNumber(entry.high);
  const range = known ? `${fixed(entry.low, 1)}…${fixed(entry.high, 1)}${unitOf(metric)}` : "";
  return make("span", {}, figure, make("span", { class: "range" }, range));
}

function drawBd() {
  const host = find("bd-table");
  const entries = (summary.bd_rate?.rows ?? []).filter((row) => row.anchor === state.anchor);
  const shown = (summary.metrics ?? []).filter((m) => entries.some((e) => e.metric === m.key));
  if (!shown.length) return drawNone(host, "There are no BD-rates.");
  const rows = [...new Set(entries.map((e) => e.codec))].map((name) => ({
    codec: codecs.find((c) => c.name === name) ?? { name, label: name },
    by: Object.fromEntries(entries.filter((e) => e.codec === name).map((e) => [e.metric, e])),
  }));
  const columns = shown.map((m) => (
    { title: m.label, number: true, value: (r) => r.by[m.key]?.percent, cell: (r) => bdCell(r.by[m.key], m) }));
  const current = shown.findIndex((m) => m.key === state.metric);
  drawTable(host, "BD-rate", [codecColumn, ...columns], rows, { column: 1 + Math.max(current, 0), sign: 1 });

  const reasons = new Map();  // the notes repeat the tooltips, which need a mouse
  for (const { codec, by } of rows) {
    for (const m of shown.filter((one) => by[one.key]?.note)) {
      const { note } = by[m.key];
      reasons.set(note, [...(reasons.get(note) ?? []), `${nameOf(codec)} (${m.label})`]);
    }
  }
  const notes = [...reasons].map(([note, where]) => make("li", {}, `${note}: ${where.join(", ")}`));
  find("bd-notes").replaceChildren(...notes);
}
