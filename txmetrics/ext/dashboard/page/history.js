// What the server has kept of the past, asked for by all who draw it in one request, and at most one a second.

const MOST = 50; // names in one request

/** Several wishes, each for a range of some names every so many seconds. */
export class History {
  #wishes = new Map();
  #busy = false;

  /** `names()` tells which series, `take(answer)` gets the server's answer; `range` and `every` may change. */
  want(wish) {
    this.#wishes.set(wish, 0);
    return wish;
  }

  /** Do not wait for the next time. */
  soon(wish) {
    this.#wishes.set(wish, 0);
  }

  /** To be called each second while somebody looks: asks for what is due and of one range. */
  async turn() {
    const now = performance.now();
    const due = [...this.#wishes].filter(([wish, at]) => at <= now && wish.names().length > 0);
    if (this.#busy || due.length === 0) return;
    const first = due.reduce((one, other) => (other[1] < one[1] ? other : one))[0];
    const wishes = due.map(([wish]) => wish).filter((wish) => wish.range === first.range);
    for (const wish of wishes) this.#wishes.set(wish, now + wish.every * 1000 - 200);
    this.#busy = true;
    try {
      const answer = await ask(first.range, [...new Set(wishes.flatMap((wish) => wish.names()))].slice(0, MOST));
      for (const wish of wishes) if (wish.range === answer.range) wish.take(answer);
    } catch {
      // the feed says that the connection is lost; the next time is the next attempt
    } finally {
      this.#busy = false;
    }
  }
}

async function ask(range, names) {
  const query = names.map((name) => `&name=${encodeURIComponent(name)}`).join("");
  const answer = await fetch(`history?range=${range}${query}`, {
    cache: "no-store",
    signal: AbortSignal.timeout(8000),
  });
  if (!answer.ok) throw new Error(`history: ${answer.status}`);
  return answer.json();
}
