// What is shown, kept in the fragment of the page's address: #range=1h&plot=http.requests.p99,reactor.busy&sort=-p99

const RANGES = ["5m", "1h", "24h"];

/** What the fragment says. `plots` is a list of lists of names of series, or null where nobody chose any. */
export function read() {
  const given = new Map();
  for (const pair of location.hash.slice(1).split("&")) {
    const [key, ...value] = pair.split("=");
    given.set(key, value.join("="));
  }
  const range = given.get("range");
  return {
    range: RANGES.includes(range) ? range : "5m",
    plots: given.has("plot") ? plots(given.get("plot")) : null,
    sort: decode(given.get("sort") ?? ""),
    search: decode(given.get("search") ?? ""),
  };
}

/** Keep it there, without a new entry in the browser's history. */
export function write({ range, plots, sort, search }) {
  const parts = [];
  if (range !== "5m") parts.push(`range=${range}`);
  if (plots !== null) parts.push(`plot=${plots.map((names) => names.map(encodeURIComponent).join(";")).join(",")}`);
  if (sort !== "") parts.push(`sort=${encodeURIComponent(sort)}`);
  if (search !== "") parts.push(`search=${encodeURIComponent(search)}`);
  const wanted = parts.length ? `#${parts.join("&")}` : "";
  if (wanted !== location.hash) history.replaceState(null, "", wanted || location.pathname + location.search);
}

/** A comma stands between plots, a semicolon between the series of one. */
function plots(value) {
  const some = value.split(",").map((one) => one.split(";").map(decode).filter(Boolean));
  return some.filter((names) => names.length > 0);
}

function decode(value) {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
