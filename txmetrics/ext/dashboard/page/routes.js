// The routes as a table that can be sorted by any column and searched.

import { arrange, byId, judge, make, say, show, visible } from "./dom.js";
import { text } from "./format.js";

const COLUMNS = [
  { key: "route", name: "Route", unit: null },
  { key: "rate", name: "Rate", unit: "1/s" },
  { key: "count", name: "Requests", unit: "" },
  { key: "errors", name: "Errors", unit: "share" },
  { key: "p50", name: "p50", unit: "seconds" },
  { key: "p95", name: "p95", unit: "seconds" },
  { key: "p99", name: "p99", unit: "seconds" },
  { key: "max", name: "Max", unit: "seconds" },
  { key: "health", name: "Health", unit: null },
];
const HEALTH = { none: 0, good: 1, warn: 2, bad: 3 };
const DEFAULT = "-rate";

/** The table; a click on a route calls `onPlot(route)`, and whatever changes what is shown `onChange()`. */
export class Routes {
  #rows = new Map();
  #heads = new Map();
  #routes = [];
  #body = document.querySelector("#routes tbody");
  #search = byId("routes-search");
  #onPlot;
  #sort = DEFAULT;

  constructor(onPlot, onChange) {
    this.#onPlot = onPlot;
    for (const { key, name, unit } of COLUMNS) {
      const change = () => {
        this.#toggle(key);
        onChange();
      };
      const head = make(
        "th",
        { scope: "col", class: unit === null ? "text" : "" },
        make("button", { type: "button", click: change }, name),
      );
      this.#heads.set(key, head);
      document.querySelector("#routes thead tr").append(head);
    }
    this.#search.addEventListener("input", () => {
      this.#draw();
      onChange();
    });
  }

  /** As the fragment has them; the default sort is "". */
  get sort() {
    return this.#sort === DEFAULT ? "" : this.#sort;
  }

  get search() {
    return this.#search.value;
  }

  restore(sort, search) {
    const known = COLUMNS.some(({ key }) => key === sort.replace(/^-/, ""));
    this.#sort = known ? sort : DEFAULT;
    this.#search.value = search;
    this.#draw();
  }

  update(state) {
    this.#routes = state.routes;
    this.#draw();
  }

  /** Text is sorted upwards first, numbers downwards. */
  #toggle(key) {
    const down = key !== "route";
    const [now, first, second] = [this.#sort, `${down ? "-" : ""}${key}`, `${down ? "" : "-"}${key}`];
    this.#sort = now === first ? second : first;
    this.#draw();
  }

  #draw() {
    const wanted = this.#search.value.trim().toLowerCase();
    const found = this.#routes.filter(({ route }) => visible(route).toLowerCase().includes(wanted));
    const down = this.#sort.startsWith("-");
    const key = this.#sort.replace(/^-/, "");
    found.sort((one, other) => order(one, other, key, down));
    for (const [name, head] of this.#heads) {
      head.setAttribute("aria-sort", name === key ? (down ? "descending" : "ascending") : "none");
    }
    arrange(
      this.#body,
      found.map((route) => this.#row(route)),
    );
    this.#forget();
    const none = this.#routes.length === 0;
    show(byId("routes-empty"), found.length === 0);
    say(
      byId("routes-empty"),
      none ? "No request has come yet." : `No route has “${visible(this.#search.value)}” in its name.`,
    );
    show(byId("routes").parentElement, found.length > 0);
    say(
      byId("routes-count"),
      none
        ? ""
        : found.length === this.#routes.length
          ? `${found.length}`
          : `${found.length} of ${this.#routes.length}`,
    );
  }

  #row(route) {
    if (!this.#rows.has(route.route)) this.#rows.set(route.route, this.#make(route.route));
    const { row, cells } = this.#rows.get(route.route);
    for (const { key, unit } of COLUMNS) {
      if (unit !== null) say(cells.get(key), text(route[key], unit));
    }
    judge(cells.get("health"), route.health);
    return row;
  }

  #make(name) {
    const cells = new Map();
    const row = make("tr");
    for (const { key, unit } of COLUMNS) {
      const cell = key === "route" ? make("th", { scope: "row", class: "text" }, this.#button(name)) : make("td");
      const inside = key === "health" ? make("span", { class: "health" }) : cell;
      if (inside !== cell) cell.append(inside);
      if (unit === null) cell.classList.add("text");
      cells.set(key, inside);
      row.append(cell);
    }
    return { row, cells };
  }

  #button(name) {
    const [, method, rest] = /^([A-Z]+(?=-)|)(.*)$/s.exec(visible(name));
    const inside = [...(method ? [make("span", { class: "aside" }, method)] : []), rest];
    return make(
      "button",
      { type: "button", class: "link", title: "Plot its times", click: () => this.#onPlot(name) },
      ...inside,
    );
  }

  #forget() {
    const known = new Set(this.#routes.map(({ route }) => route));
    for (const name of this.#rows.keys()) if (!known.has(name)) this.#rows.delete(name);
  }
}

/** What is unknown comes last, whichever way; equals by name. */
function order(one, other, key, down) {
  const [a, b] = [one, other].map((route) => (key === "health" ? HEALTH[route.health] : route[key]));
  const names = one.route < other.route ? -1 : 1;
  if (a === b) return names;
  if (a === null || b === null) return a === null ? 1 : -1;
  return (a < b ? -1 : 1) * (down ? -1 : 1);
}
