// One plot on the screen, drawn by plotly, which is fetched when the first one is to be seen.

let loading = null;

/** plotly, or null where the server has none. */
export function plotly() {
  loading ??= load();
  return loading;
}

function load() {
  // As it is read, plotly writes a style element for its maps, which the page's policy would refuse and report.
  const make = document.createElement;
  document.createElement = (name, ...rest) =>
    make.call(document, String(name).toLowerCase() === "style" ? "template" : name, ...rest);
  const script = make.call(document, "script");
  script.src = "plotly.min.js";
  return new Promise((resolve) => {
    const ready = () => {
      delete document.createElement;
      resolve(window.Plotly ?? null);
    };
    script.addEventListener("load", ready);
    script.addEventListener("error", ready);
    document.head.append(script);
  });
}

const AXES = {
  seconds: { tickformat: "~s", ticksuffix: "s" },
  share: { tickformat: "~%" },
  bytes: { tickformat: "~s", ticksuffix: "B" },
  "bytes/s": { tickformat: "~s", ticksuffix: "B/s" },
  "1/s": { tickformat: "~s", ticksuffix: "/s" },
  "": { tickformat: "~s" },
};

const CONFIG = { displayModeBar: false, doubleClick: false, responsive: true, scrollZoom: false };

const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** plotly takes a time without a zone, so it gets the local one as if it were UTC. */
export function local(time) {
  return new Date((time - new Date().getTimezoneOffset() * 60) * 1000).toISOString().replace("Z", "");
}

/** The colours that the page has now, light or dark. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(name).trim();
  return {
    ink: get("--ink"),
    quiet: get("--quiet"),
    line: get("--line"),
    surface: get("--surface"),
    font: style.fontFamily,
  };
}

/** The colour of the series at `index` in a plot. */
export function colour(index) {
  const style = getComputedStyle(document.documentElement);
  return style.getPropertyValue(`--series-${(index % 6) + 1}`).trim();
}

function trace(times, { label, values, told, hue }, alone) {
  const lonely = values.map(
    (value, at) => value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null,
  );
  return {
    x: times,
    y: values,
    text: told,
    name: escape(label),
    hovertemplate: `${escape(label)} %{text}<extra></extra>`, // in bold it would be a style, which is refused
    mode: lonely.some(Boolean) ? "lines+markers" : "lines",
    marker: { color: hue, size: lonely.map((alone) => (alone ? 5 : 0)), opacity: 1, line: { width: 0 } },
    line: { color: hue, width: 1.75 },
    ...(alone ? { fill: "tozeroy", fillcolor: `${hue}1f` } : {}),
  };
}

/**
 * Draw into `element` the `lines`, each {label, values, told, hue} with one value and its text for each time, as far as
 * `window` goes, a pair of local times.
 */
export function draw(Plotly, element, { times, lines, unit, window }) {
  const { ink, quiet, line, surface, font } = colours();
  const axis = {
    gridcolor: line,
    linecolor: line,
    zeroline: false,
    tickfont: { color: quiet, size: 11 },
    automargin: false,
  };
  const spike = { spikecolor: quiet, spikethickness: 1, spikedash: "solid" };
  const touch = matchMedia("(pointer: coarse)").matches;
  const layout = {
    autosize: true,
    margin: { l: 58, r: 12, t: 8, b: 24 },
    paper_bgcolor: surface,
    plot_bgcolor: surface,
    font: { family: font, size: 12, color: ink },
    hovermode: "x unified",
    hoverlabel: { bgcolor: surface, bordercolor: line, font: { color: ink, size: 12 } },
    dragmode: touch ? false : "zoom",
    showlegend: false,
    xaxis: {
      ...axis,
      type: "date",
      range: window,
      showgrid: false,
      fixedrange: touch,
      ...spike,
      hoverformat: "%H:%M:%S",
      tickformatstops: STOPS,
    },
    yaxis: { ...axis, ...AXES[unit], rangemode: "tozero", fixedrange: true, nticks: 5 },
  };
  const at = times.map(local);
  return Plotly.react(
    element,
    lines.map((each) => trace(at, each, lines.length === 1)),
    layout,
    CONFIG,
  );
}

const STOPS = [
  { dtickrange: [null, 60000], value: "%H:%M:%S" },
  { dtickrange: [60000, null], value: "%H:%M" },
];
