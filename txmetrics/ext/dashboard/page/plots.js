// The plots: which there are, what they show, and one range and zoom for all of them.

import { colour, draw, local, plotly } from "./chart.js";
import { arrange, byId, make, say, show, visible } from "./dom.js";
import { text, unitOf } from "./format.js";

const SPANS = { "5m": [300, 1], "1h": [3600, 10], "24h": [86400, 60] }; // seconds, and how often to look
const STRETCHES = [60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400];
const PERCENTILES = ["p50", "p95", "p99"];

/** What a metric's plots show: `known` is a Map of the server's series by name. */
export class Plots {
  #plots = [];
  #chosen = false; // whether somebody has, or the page did
  #known = new Map();
  #units = new Map();
  #zoom = null;
  #answer = null;
  #onChange;
  #wanted = () => {};
  #begun = false;
  #held = false; // while something is dragged over, nothing moves under it
  #Plotly = undefined; // null where the server has none
  #seen = new IntersectionObserver((entries) => this.#sight(entries), { rootMargin: "150px" });

  /** What the history is asked for; `every` and `range` go with what is chosen. */
  wish = { range: "5m", every: 1, names: () => this.#names(), take: (answer) => this.#take(answer) };

  constructor(onChange) {
    this.#onChange = onChange;
    for (const button of byId("ranges").children) {
      button.addEventListener("click", () => this.#changed(() => this.setRange(button.dataset.range)));
    }
    byId("plots").addEventListener("pointerdown", () => (this.#held = true));
    for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, () => (this.#held = false), true);
    byId("unzoom").addEventListener("click", () => this.#setZoom(null));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#drawAll());
  }

  /** Call `wanted()` when something new is to be fetched. */
  whenWanted(wanted) {
    this.#wanted = wanted;
  }

  /** Names of series by plot, or null while nobody has chosen any. */
  get chosen() {
    return this.#chosen ? this.#plots.map(({ names }) => names) : null;
  }

  setRange(range) {
    [this.wish.range, this.wish.every] = [range, SPANS[range][1]];
    this.#zoom = null;
    for (const button of byId("ranges").children)
      button.setAttribute("aria-pressed", String(button.dataset.range === range));
    show(byId("unzoom"), false);
    this.#wanted();
  }

  /** Show these instead, or the page's own choice for null. */
  restore(chosen) {
    this.#chosen = chosen !== null;
    this.#replace(chosen ?? this.#defaults());
  }

  /** The server's series have become these. */
  setKnown(list) {
    this.#known = new Map(list.map((series) => [series.name, series]));
    if (!this.#chosen) this.#replace(this.#defaults());
  }

  /** Units that only the overview knows, such as that of a share. */
  setUnits(big) {
    for (const { series, unit } of big) if (series) this.#units.set(series, unit);
  }

  /** Add a plot of these series, or find the one there is; returns its element. */
  add(names) {
    const key = names.join(";");
    let plot = this.#plots.find((each) => each.key === key);
    if (!plot) {
      this.#changed(() => {
        plot = this.#make(names);
        this.#chosen = true;
        this.#plots = [plot, ...this.#plots];
        this.#arrange();
      });
    }
    return plot.element;
  }

  /** The series that belong together with this one: a timer's percentiles, or itself alone. */
  together(name) {
    const series = this.#known.get(name);
    const suffix = name.slice(name.lastIndexOf(".") + 1);
    return series && PERCENTILES.includes(suffix) ? PERCENTILES.map((each) => `${series.metric}.${each}`) : [name];
  }

  #defaults() {
    const all = [["http.requests.rate"], PERCENTILES.map((each) => `http.requests.${each}`), ["reactor.busy"]];
    return all.filter((names) => names.every((name) => this.#known.has(name)));
  }

  #replace(lists) {
    const old = new Map(this.#plots.map((plot) => [plot.key, plot]));
    this.#plots = lists.map((names) => old.get(names.join(";")) ?? this.#make(names));
    for (const plot of old.values()) if (!this.#plots.includes(plot)) this.#drop(plot);
    this.#arrange();
  }

  #arrange() {
    arrange(
      byId("plots"),
      this.#plots.map(({ element }) => element),
    );
    show(byId("plots-empty"), this.#plots.length === 0);
    this.#wanted();
  }

  #changed(change) {
    change();
    this.#onChange();
  }

  #remove(plot) {
    this.#changed(() => {
      this.#chosen = true;
      this.#plots = this.#plots.filter((each) => each !== plot);
      this.#drop(plot);
      this.#arrange();
    });
    byId("plots-title").focus();
  }

  /** Let go of what holds a plot that is not shown any more. */
  #drop(plot) {
    this.#seen.unobserve(plot.element);
    if (plot.drawn) this.#Plotly.purge(plot.graph);
  }

  #make(names) {
    const title = visible(names.length > 1 ? `${metric(names[0])}: ${names.map(suffix).join(", ")}` : names[0]);
    const graph = make("div", { class: "graph", "aria-hidden": "true" });
    const rows = names.map((name, index) => row(names.length > 1 ? suffix(name) : name, index));
    const heads = ["", "Now", "Lowest", "Highest"].map((head) =>
      make("th", { scope: "col", class: head ? "" : "text" }, head || make("span", { class: "unseen" }, "Series")),
    );
    const table = make(
      "table",
      { class: "legend" },
      make("thead", {}, make("tr", {}, ...heads)),
      make("tbody", {}, ...rows.map((each) => each.element)),
    );
    const unknown = make("p", { class: "empty", hidden: "" }, "No series of this name is kept.");
    const plot = { key: names.join(";"), names, graph, rows, unknown, visible: false, drawn: false };
    const remove = make(
      "button",
      {
        type: "button",
        class: "plain",
        "aria-label": `Remove the plot of ${title}`,
        click: () => this.#remove(plot),
      },
      "Remove",
    );
    plot.element = make(
      "article",
      { class: "plot", tabindex: "-1" },
      make("div", { class: "bar" }, make("h3", {}, title), remove),
      unknown,
      graph,
      table,
    );
    this.#seen.observe(plot.element);
    return plot;
  }

  #sight(entries) {
    for (const { target, isIntersecting } of entries) {
      const plot = this.#plots.find(({ element }) => element === target);
      if (plot) plot.visible = isIntersecting;
    }
    if (this.#plots.some((plot) => plot.visible)) this.#begin();
  }

  async #begin() {
    if (!this.#begun) {
      this.#begun = true;
      this.#Plotly = await plotly();
      show(byId("plots-missing"), this.#Plotly === null);
      byId("plots").classList.toggle("bare", this.#Plotly === null);
    }
    this.#wanted();
    this.#drawAll();
  }

  #names() {
    return [...new Set(this.#plots.filter((plot) => plot.visible).flatMap(({ names }) => names))];
  }

  #take(answer) {
    this.#answer = answer;
    this.#drawAll();
  }

  #setZoom(zoom) {
    this.#zoom = zoom;
    show(byId("unzoom"), zoom !== null);
    this.#drawAll();
  }

  #drawAll() {
    if (this.#held || this.#answer?.range !== this.wish.range) return;
    for (const plot of this.#plots.filter(({ visible }) => visible)) {
      const unknown = this.#known.size > 0 && !plot.names.some((name) => this.#known.has(name));
      show(plot.unknown, unknown);
      show(plot.graph, !unknown);
      if (!unknown && plot.names.some((name) => this.#answer.series[name])) this.#draw(plot);
    }
  }

  #unit(name) {
    const series = this.#known.get(name);
    return this.#units.get(name) ?? (series ? unitOf(series) : "");
  }

  #draw(plot) {
    const { times, series } = this.#answer;
    const unit = this.#unit(plot.names[0]);
    const lines = plot.names.map((name, index) => {
      const values = series[name] ?? times.map(() => null);
      tell(plot.rows[index], values, unit);
      const label = plot.names.length > 1 ? suffix(name) : "";
      return { label: visible(label), values, told: values.map((value) => text(value, unit)), hue: colour(index) };
    });
    if (!this.#Plotly) return;
    const window = this.#zoom ?? stretch(times, SPANS[this.wish.range][0]);
    draw(this.#Plotly, plot.graph, { times, lines, unit, window });
    if (!plot.drawn) this.#follow(plot);
  }

  /** Let all plots show the part of the time that was chosen in one of them. */
  #follow(plot) {
    plot.drawn = true;
    plot.graph.on("plotly_relayout", (change) => {
      if (change["xaxis.range[0]"]) this.#setZoom([change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    });
    plot.graph.on("plotly_doubleclick", () => this.#setZoom(null));
  }
}

const suffix = (name) => name.slice(name.lastIndexOf(".") + 1);
const metric = (name) => name.slice(0, name.lastIndexOf("."));

/** What a plot shows of so many seconds: less where not much is kept yet, in steps, so that it does not crawl. */
function stretch(times, most) {
  const [first, last] = [times[0], times.at(-1)];
  const wanted = STRETCHES.find((seconds) => seconds >= last - first) ?? most;
  return [local(last - Math.min(wanted, most)), local(last)];
}

function row(label, index) {
  const key = make("span", { class: `key key-${(index % 6) + 1}`, "aria-hidden": "true" });
  const cells = [0, 1, 2].map(() => make("td", {}, "–"));
  return {
    cells,
    element: make("tr", {}, make("th", { scope: "row", class: "text" }, key, visible(label)), ...cells),
  };
}

/** What a line shows, in words: its last, lowest and highest value. */
function tell({ cells }, values, unit) {
  const known = values.filter((value) => value !== null);
  const least = known.length ? known.reduce((one, other) => Math.min(one, other)) : null;
  const most = known.length ? known.reduce((one, other) => Math.max(one, other)) : null;
  [values.at(-1) ?? null, least, most].forEach((value, index) => say(cells[index], text(value, unit)));
}
