// Puts a chart of uPlot's in place of a picture that the server drew: the same lines, with zoom and a cursor to read them off.
// Where uPlot did not come the picture stays and the page is loaded anew now and then. Keeps one answer at a time, decides nothing.

import { show } from "./bind.js";

const RELOAD_MS = 30000;
const HEIGHT = 260;
const COLOURS = { gross: "--muted", net: "--link", cost: "--warn-fill", basis: "--warn-fill", coin: "--link", bank: "--good-fill" };
const DASHES = { cost: [5, 4] };
const dark = matchMedia("(prefers-color-scheme: dark)");
const plots = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function clock(seconds, length) {
  return new Date(seconds * 1000).toISOString().slice(11, length);
}

function written(unit, value, step) {
  if (value === null || value === undefined) return "–";
  const scale = unit === "percent" ? 1e4 : 1e8;
  const digits = Math.min(6, Math.max(2, Math.ceil(-Math.log10(step / scale) - 1e-9)));
  const text = (value / scale).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return unit === "percent" ? `${value > 0 ? "+" : ""}${text} %` : text;
}

class Plot {
  constructor(figure) {
    this.figure = figure;
    this.range = null;
    this.answer = null;
    this.plot = null;
    this.place = document.createElement("div");
    this.place.className = "canvas";
    this.place.tabIndex = 0;
    this.place.setAttribute("role", "group");
    this.note = document.createElement("p");
    this.note.className = "muted small";
    this.note.setAttribute("role", "status");
    this.time = document.createElement("span");
    this.readings = [];
  }

  address() {
    const { points } = this.figure.dataset;
    return this.range ? `${points}&from_s=${this.range[0]}&until_s=${this.range[1]}` : points;
  }

  async load() {
    let answer;
    try {
      answer = await fetch(this.address(), { headers: { accept: "application/json" } });
    } catch {
      return this.say("No answer: what you see is old.");
    }
    if (answer.status === 401) return location.reload();
    if (!answer.ok) return this.say("No answer: what you see is old.");
    this.take(await answer.json());
    performance.clearResourceTimings();
    return this.say(this.range ? `From ${clock(this.range[0], 19)} to ${clock(this.range[1], 19)} UTC; double click or 0 shows all.` : "");
  }

  say(text) {
    if (this.note.textContent !== text) this.note.textContent = text;
  }

  take(answer) {
    if (answer.at_s.length < 2) return;
    this.answer = answer;
    const data = [answer.at_s, ...answer.lines.map((line) => line.values)];
    if (this.plot) this.plot.setData(data);
    else this.begin(data);
    this.place.setAttribute("aria-label", `${answer.title}. Arrow keys read values off, plus and minus zoom, 0 shows all.`);
    const title = this.figure.parentElement.querySelector("[data-title-of]");
    if (title && title.textContent !== answer.title) title.textContent = answer.title;
    const { rowOf } = this.figure.dataset;
    if (!rowOf || !answer.row) return;
    for (const row of document.querySelectorAll(`[data-row="${CSS.escape(rowOf)}"]`)) show(row, answer.row);
  }

  begin(data) {
    const frame = this.figure.querySelector(".frame");
    frame.before(this.place);
    this.figure.append(this.note);
    this.plot = new window.uPlot(this.options(), data, this.place);
    frame.remove();
    const keys = [...this.figure.querySelectorAll(".key")];
    this.readings = keys.map((key) => key.appendChild(document.createElement("b")));
    if (keys.length) keys[0].parentElement.append(this.time);
    new ResizeObserver(() => this.plot.setSize({ width: this.width(), height: HEIGHT })).observe(this.figure);
    this.place.addEventListener("keydown", (event) => this.press(event));
    this.place.addEventListener("dblclick", () => this.zoom(null));
  }

  width() {
    return Math.max(200, Math.floor(this.figure.clientWidth));
  }

  options() {
    const { unit, lines } = this.answer;
    const muted = () => colour("--muted");
    const axis = { stroke: muted, font: "12px system-ui, sans-serif", grid: { stroke: () => colour("--faint"), width: 1 }, ticks: { show: false } };
    const near = (u, low, high) => window.uPlot.rangeNum(low, high, 0.08, true);
    const zero = (u, low, high) => window.uPlot.rangeNum(Math.min(0, low), Math.max(0, high), 0.08, true);
    return {
      width: this.width(),
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: "page" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      scales: { x: { time: true }, y: { range: unit === "percent" ? zero : near } },
      series: [{}, ...lines.map(({ kind }) => ({ stroke: () => colour(COLOURS[kind] || "--link"), width: 1.5, dash: DASHES[kind], points: { show: false } }))],
      axes: [
        { ...axis, size: 32, values: (u, splits, number, space, step) => splits.map((at) => clock(at, step < 60 ? 19 : 16)) },
        { ...axis, size: 76, values: (u, splits, number, space, step) => splits.map((value) => written(unit, value, step)) },
      ],
      hooks: {
        drawClear: [() => { this.began = performance.now(); }],
        draw: [(u) => this.finish(u)],
        setCursor: [(u) => this.read(u.cursor.idx)],
        setSelect: [(u) => this.select(u)],
      },
    };
  }

  finish(u) {
    const { ctx } = u;
    ctx.save();
    ctx.lineWidth = 3 * devicePixelRatio;
    for (const mark of this.answer.marks) {
      ctx.strokeStyle = colour(mark.kind.includes("missed") ? "--bad-fill" : "--good-fill");
      const x = u.valToPos(mark.at_s, "x", true);
      const y = u.valToPos(mark.value, "y", true);
      ctx.beginPath();
      ctx.moveTo(x, y - 9 * devicePixelRatio);
      ctx.lineTo(x, y + 9 * devicePixelRatio);
      ctx.stroke();
    }
    ctx.restore();
    this.figure.dataset.drawn = (performance.now() - this.began).toFixed(2);
  }

  read(index) {
    const { at_s: times, lines, unit } = this.answer;
    const known = index !== null && index !== undefined && index < times.length;
    lines.forEach((line, place) => {
      const text = known ? ` ${written(unit, line.values[index], unit === "percent" ? 1 : 1e4)}` : "";
      const reading = this.readings[place];
      if (reading && reading.textContent !== text) reading.textContent = text;
    });
    const time = known ? `${clock(times[index], 19)} UTC` : "";
    if (this.time.textContent !== time) this.time.textContent = time;
  }

  select(u) {
    const { left, width } = u.select;
    if (width < 4) return;
    const range = [Math.floor(u.posToVal(left, "x")), Math.ceil(u.posToVal(left + width, "x"))];
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.zoom(range);
  }

  zoom(range) {
    this.range = range && range[1] - range[0] >= 2 ? range : null;
    this.load();
  }

  press(event) {
    const u = this.plot;
    const times = this.answer.at_s;
    const at = u.cursor.idx ?? times.length - 1;
    const moved = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: times.length - 1 }[event.key];
    const span = times[times.length - 1] - times[0];
    const factor = { "+": 0.5, "-": 2 }[event.key];
    if (moved !== undefined) {
      const place = Math.min(times.length - 1, Math.max(0, moved));
      u.setCursor({ left: u.valToPos(times[place], "x"), top: u.over.clientHeight / 2 });
    } else if (factor && (this.range || factor < 1)) {
      const low = Math.floor(times[at] - (span * factor) / 2);
      this.zoom([low, low + Math.ceil(span * factor)]);
    } else if (event.key === "0" || event.key === "Escape") {
      this.zoom(null);
    } else {
      return;
    }
    event.preventDefault();
  }
}

async function follow(plot, everyMs) {
  if (!document.hidden && !plot.range) await plot.load();
  setTimeout(() => follow(plot, everyMs), everyMs);
}

async function begin() {
  for (const figure of document.querySelectorAll("figure[data-points]")) plots.push(new Plot(figure));
  for (const plot of plots) await follow(plot, 1000 * Number(plot.figure.dataset.every));
}

dark.addEventListener("change", () => plots.forEach(({ plot }) => plot && plot.redraw(false)));

if (window.uPlot) begin();
else setTimeout(() => location.reload(), RELOAD_MS);
