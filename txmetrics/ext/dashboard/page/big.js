// The few big numbers, each with its health in a word and the last five minutes as a line.

import { arrange, byId, draw, judge, make, say, show, visible } from "./dom.js";
import { parts } from "./format.js";

const WIDTH = 100;
const HEIGHT = 30;

/** Cards for `state.big`; a click on one calls `onPlot(series)`. */
export class Big {
  #cards = new Map();
  #onPlot;

  constructor(onPlot) {
    this.#onPlot = onPlot;
  }

  /** The series behind the cards. */
  names() {
    return [...this.#cards.values()].map((card) => card.series).filter(Boolean);
  }

  update(state) {
    const items = state.big.map((number) => {
      if (this.#cards.get(number.key)?.series !== number.series) this.#cards.set(number.key, this.#card(number));
      const card = this.#cards.get(number.key);
      const [value, unit] = parts(number.value, number.unit);
      say(card.value, value);
      say(card.unit, unit);
      judge(card.health, number.health);
      return card.item;
    });
    arrange(byId("big"), items);
    show(byId("big-empty"), items.length === 0);
  }

  /** Draw the lines anew from what the server has kept. */
  take(answer) {
    for (const card of this.#cards.values()) {
      const values = card.series && answer.series[card.series];
      if (!values) continue;
      const [line, area] = paths(answer.times, values);
      card.line.setAttribute("d", line);
      card.area.setAttribute("d", area);
    }
  }

  #card({ key, label, series }) {
    const [value, unit, health] = ["number", "unit", "health"].map((name) => make("span", { class: name }));
    const svg = draw("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    const [area, line] = [draw("path", { class: "area" }), draw("path", { class: "line" })];
    svg.append(area, line);
    const inside = [
      make("span", { class: "label" }, visible(label)),
      make("span", { class: "value" }, value, " ", unit),
      health,
      ...(series ? [svg] : []),
    ];
    const card = series
      ? make(
          "button",
          { type: "button", class: "card", title: `Plot ${visible(series)}`, click: () => this.#onPlot(series) },
          ...inside,
        )
      : make("div", { class: "card" }, ...inside);
    return { item: make("li", { "data-key": key }, card), value, unit, health, series, line, area };
  }
}

/** The path of a line and that of the area under it; where a value is unknown, both have a gap. */
function paths(times, values) {
  const most = values.reduce((one, other) => Math.max(one, other ?? 0), 0) || 1;
  const [from, to] = [times.at(-1) - 300, times.at(-1)];
  let line = "";
  let area = "";
  let last = null;
  values.forEach((value, index) => {
    if (value === null) return;
    const x = (((times[index] - from) / (to - from)) * WIDTH).toFixed(2);
    const y = (HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(2);
    const joins = last !== null && index - last.index <= 1;
    if (!joins && last !== null) area += `V${HEIGHT}Z`;
    line += joins ? `L${x} ${y}` : `M${x} ${y}h0.01`;
    area += joins ? `L${x} ${y}` : `M${x} ${HEIGHT}V${y}`;
    last = { index };
  });
  return [line, last === null ? "" : `${area}V${HEIGHT}Z`];
}
