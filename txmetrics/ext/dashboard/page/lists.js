// The slowest requests, who blocked the reactor, and the reporters: small tables that are made anew when they change.

import { byId, judge, make, show, visible } from "./dom.js";
import { ago, text } from "./format.js";

const cell = (content, attributes = {}) => make("td", attributes, content);
const words = (content) => cell(visible(content), { class: "text" });

/** One table: the names of its columns, of which some are text, and what makes a row of an item. */
class List {
  #id;
  #columns;
  #row;
  #told = "";

  constructor(id, columns, row) {
    this.#id = id;
    this.#columns = columns;
    this.#row = row;
  }

  /** Show `items`; `sentence` stands in the place of none. */
  update(items, now, sentence) {
    const rows = (items ?? []).map((item) => this.#row(item, now));
    const told = rows.map((row) => row.textContent).join("\n");
    if (told === this.#told && rows.length > 0) return; // what is open or selected stays so
    this.#told = told;
    const table = byId(this.#id);
    const heads = this.#columns.map(([name, kind]) => make("th", { scope: "col", class: kind ?? "" }, name));
    const open = new Set(Array.from(table.querySelectorAll("details[open]"), (each) => each.textContent));
    for (const each of rows.flatMap((row) => [...row.querySelectorAll("details")]))
      each.open = open.has(each.textContent);
    table.replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
    show(table.parentElement, rows.length > 0);
    const empty = byId(`${this.#id}-empty`);
    show(empty, rows.length === 0);
    empty.textContent = sentence;
  }
}

const slowest = new List(
  "slowest",
  [["Took"], ["Path", "text"], ["Status", "text"], ["First byte"], ["In reactor"], ["Body"], ["When"]],
  (request, now) =>
    make(
      "tr",
      {},
      cell(text(request.seconds, "seconds"), { class: "strong" }),
      cell(visible(request.path), { class: "text path", title: visible(request.route) }),
      words(request.code ?? "client left"),
      ...["first_byte", "blocking", "body_wait"].map((key) => cell(text(request[key], "seconds"))),
      cell(ago(request.ended, now)),
    ),
);

/** Who it was; and, where a stack was seen, the innermost function of it, with all of it on request. */
function culprit({ name, stack }) {
  if (stack === null) return make("td", { class: "text path" }, visible(name));
  const inner = [...stack.matchAll(/, line \d+, in (.+)/g)].at(-1);
  const where = inner ? [make("span", { class: "aside" }, ` in ${visible(inner[1])}`)] : [];
  const summary = make("summary", {}, visible(name), ...where);
  return make("td", { class: "text path" }, make("details", {}, summary, make("pre", {}, visible(stack))));
}

const blocked = new List("blocked", [["Held it"], ["Who", "text"], ["When"]], (block, now) =>
  make(
    "tr",
    {},
    cell(text(block.seconds, "seconds"), { class: "strong" }),
    culprit(block),
    cell(ago(block.time, now)),
  ),
);

function health(reporter) {
  const span = make("span", { class: "health" });
  judge(span, reporter.health);
  return make("td", { class: "text" }, span);
}

const reporters = new List(
  "reporters",
  [
    ["To", "text"],
    ["Health", "text"],
    ["Connection", "text"],
    ["Lag"],
    ["Queued"],
    ["Dropped"],
    ["Delivered"],
    ["Reports"],
  ],
  (reporter) =>
    make(
      "tr",
      {},
      cell(visible(reporter.where), { class: "text path" }),
      health(reporter),
      words(reporter.connected ? "connected" : "not connected"),
      cell(text(reporter.lag, "seconds")),
      ...["queued", "dropped", "delivered", "reports"].map((key) => cell(text(reporter[key], ""))),
    ),
);

const NOBODY = {
  slowest: "Nobody told this page about slow requests: Dashboard(registry, slowest=timed.slowest).",
  blocked: "Nobody told this page who blocked the reactor: Dashboard(registry, blocked=blocking.slowest).",
};

/** Show what `state` says of all three. */
export function update(state) {
  const { time } = state;
  slowest.update(state.slowest, time, state.slowest ? "No request has ended in the last minutes." : NOBODY.slowest);
  blocked.update(state.blocked, time, state.blocked ? "Nobody held the reactor for long." : NOBODY.blocked);
  const none = "This page knows of no reporter: Dashboard(registry, reporters=[reporter]).";
  reporters.update(state.reporters, time, none);
}
