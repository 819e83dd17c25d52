// The field in which one asks for the plot of any metric, with what it could be while one types.

import { byId, make, say } from "./dom.js";

const MOST = 50; // names that are offered at once

/** Calls `onAdd(names)` with the series of what was asked for. */
export class Adding {
  #names = new Map();
  #field = byId("add-name");
  #onAdd;

  constructor(onAdd) {
    this.#onAdd = onAdd;
    this.#field.addEventListener("input", (event) => this.#typed(event));
    byId("add").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#add(this.#field.value.trim());
    });
  }

  /** The server's series have become these: each can be asked for, and each timer for all its percentiles. */
  setKnown(list, together) {
    this.#names = new Map();
    for (const { name, metric } of list) {
      if (name === `${metric}.p50`) this.#names.set(metric, together(name));
      this.#names.set(name, [name]);
    }
    this.#offer();
  }

  #typed(event) {
    say(byId("add-answer"), "");
    const chosen = event.inputType === undefined || event.inputType === "insertReplacementText";
    if (chosen && this.#names.has(this.#field.value)) this.#add(this.#field.value);
    else this.#offer();
  }

  #matches(part) {
    const words = part.toLowerCase().split(/\s+/);
    return [...this.#names.keys()].filter((name) => words.every((word) => name.toLowerCase().includes(word)));
  }

  #offer() {
    const found = this.#matches(this.#field.value.trim()).slice(0, MOST);
    byId("add-names").replaceChildren(...found.map((value) => make("option", { value })));
  }

  /** What was typed, if it is a name or there is but one that has it in it. */
  #add(typed) {
    const found = this.#names.has(typed) ? [typed] : typed === "" ? [] : this.#matches(typed);
    if (found.length === 1) {
      this.#field.value = "";
      this.#offer();
      this.#onAdd(this.#names.get(found[0]));
      return;
    }
    const many =
      found.length > 1 ? `${found.length} names have this in them: choose one.` : "Nothing of this name is measured.";
    say(byId("add-answer"), typed === "" ? "Type a part of a metric's name." : many);
  }
}
