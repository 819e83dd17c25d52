// Numbers as people read them, three digits each, so that they do not jump: [number, unit].

const NONE = ["–", ""];
const SPACE = "\u00a0";

/** Three significant digits, all of those before the point, and thousands set apart. */
function digits(value) {
  const size = Math.abs(value);
  if (size >= 99.95 || value === 0) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(size >= 9.995 ? 1 : 2);
}

function scaled(value, steps) {
  const size = Math.abs(value);
  const [from, unit] = steps.find(([least]) => size >= least) ?? steps.at(-1);
  return [digits(value / from), unit];
}

const TIMES = [
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
];
const SIZES = [
  [1e12, "TB"],
  [1e9, "GB"],
  [1e6, "MB"],
  [1e3, "kB"],
  [1, "B"],
];

/** A duration, of which minutes and more are told as one says them: 2 h 46 min. */
function seconds(value) {
  if (value === 0) return ["0", "s"];
  return Math.abs(value) < 100 ? scaled(value, TIMES) : [span(value), ""];
}

function plain(value) {
  if (Math.abs(value) >= 1e7) return [digits(value / 1e6), "M"];
  return Number.isInteger(value) ? [value.toLocaleString("en-US"), ""] : [digits(value), ""];
}

function share(value) {
  const percent = value * 100;
  return [percent === 0 || percent === 100 ? String(percent) : percent.toFixed(percent < 9.995 ? 2 : 1), "%"];
}

const UNITS = {
  seconds,
  share,
  bytes: (value) => scaled(value, SIZES),
  "bytes/s": (value) =>
    scaled(
      value,
      SIZES.map(([least, unit]) => [least, `${unit}/s`]),
    ),
  "1/s": (value) => [digits(value), "/s"],
  "": plain,
};

/** The number and its unit apart; a dash for what is unknown. */
export function parts(value, unit) {
  return value === null || value === undefined ? NONE : (UNITS[unit] ?? plain)(value);
}

/** The number and its unit in one text. */
export function text(value, unit) {
  const [number, name] = parts(value, unit);
  return name === "" ? number : number + (name === "/s" ? "" : SPACE) + name;
}

/** How long, in the two largest units that count, or in only so many. */
export function span(value, most = 2) {
  const whole = Math.max(0, Math.floor(value));
  const units = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = units.findIndex(([size]) => whole >= size);
  if (first < 0) return `0${SPACE}s`;
  const [size, name] = units[first];
  const rest = units[first + 1];
  const more = rest && most > 1 ? Math.floor((whole % size) / rest[0]) : 0;
  return `${Math.floor(whole / size)}${SPACE}${name}${more ? ` ${more}${SPACE}${rest[1]}` : ""}`;
}

/** How long ago something was, at the server's time `now`. */
export function ago(time, now) {
  return now - time < 1.5 ? "now" : `${span(now - time, 1)} ago`;
}

/** The unit of a series, by what the server says of it and by its name. */
export function unitOf(series) {
  const sizes = /bytes|memory|rss/.test(series.name);
  if (series.unit === "seconds") return "seconds";
  if (series.unit === "a second")
    return sizes && series.kind !== "timer" && series.kind !== "histogram" ? "bytes/s" : "1/s";
  return sizes ? "bytes" : "";
}
