// The page of the dashboard: the overview each second, the past where it is looked at, the fragment kept.

import { Adding } from "./adding.js";
import * as address from "./address.js";
import { Big } from "./big.js";
import { byId, say, visible } from "./dom.js";
import { Feed } from "./feed.js";
import { span } from "./format.js";
import { History } from "./history.js";
import * as lists from "./lists.js";
import { Plots } from "./plots.js";
import { Routes } from "./routes.js";

const STATUS = {
  connecting: ["○", "connecting"],
  live: ["●", "live"],
  polling: ["●", "live, asked for every 2 seconds"],
  paused: ["❚❚", "paused"],
  lost: ["■", "connection lost, trying again"],
};

let state = null;
let seriesKept = -1; // how many there were when their names were fetched
let namesAsked = -Infinity;
let known = [];

const keep = () =>
  address.write({ range: plots.wish.range, plots: plots.chosen, sort: routes.sort, search: routes.search });

const history = new History();
const plots = new Plots(keep);
const routes = new Routes(plotRoute, keep);
const big = new Big((series) => plot(plots.together(series)));
const adding = new Adding(plot);
const sparks = history.want({ range: "5m", every: 5, names: () => big.names(), take: (answer) => big.take(answer) });
history.want(plots.wish);
plots.whenWanted(() => history.soon(plots.wish));

const feed = new Feed((given) => {
  const first = state === null;
  state = given;
  big.update(state);
  routes.update(state);
  lists.update(state);
  plots.setUnits(state.big);
  say(byId("host"), visible(state.host));
  say(byId("process"), `pid ${state.pid}, up ${span(state.time - state.started)}`);
  say(byId("plots-count"), kept());
  if (document.title !== `${visible(state.host)} · txmetrics`) document.title = `${visible(state.host)} · txmetrics`;
  if (first) turn();
}, tell);

function kept() {
  const missing = state.series_not_kept;
  const all = `${state.series.toLocaleString("en-US")} series`;
  return missing
    ? `${all}; ${missing.toLocaleString("en-US")} more are not kept: Dashboard(registry, max_series=...)`
    : all;
}

function tell(status) {
  const [shape, words] = STATUS[status];
  const element = byId("status");
  element.dataset.state = status;
  say(element.querySelector(".shape"), shape);
  say(byId("status-words"), words);
}

/** Show a plot of these series, and go there. */
function plot(names) {
  const element = plots.add(names);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "center", behavior: calm ? "instant" : "smooth" });
  element.focus({ preventScroll: true });
}

function plotRoute(route) {
  const end = `.routes.${route}.requests.p50`;
  const found = known.find(({ name }) => name.endsWith(end));
  if (found) plot(plots.together(found.name));
}

/** What there is to plot changes seldom: only then, and not more often than every few seconds. */
async function learn() {
  if (state === null || state.series === seriesKept || performance.now() - namesAsked < 5000) return;
  namesAsked = performance.now();
  try {
    const answer = await fetch("series", { cache: "no-store", signal: AbortSignal.timeout(8000) });
    if (!answer.ok) return;
    known = await answer.json();
  } catch {
    return; // the feed says that the connection is lost
  }
  seriesKept = state.series;
  plots.setKnown(known);
  adding.setKnown(known, (name) => plots.together(name));
}

function turn() {
  if (!feed.wanted) return;
  learn();
  history.turn();
}

function restore() {
  const shown = address.read();
  plots.setRange(shown.range);
  plots.restore(shown.plots);
  routes.restore(shown.sort, shown.search);
}

byId("pause").addEventListener("click", () => {
  feed.pause(!feed.paused);
  say(byId("pause"), feed.paused ? "Resume" : "Pause");
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) history.soon(sparks);
});
window.addEventListener("hashchange", restore);
restore();
feed.start();
setInterval(turn, 1000);
