// Elements, made and filled with text only: whatever a name from outside holds, it is never read as HTML.

/** An element with attributes and children; a function among the attributes listens to the event of that name. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** An element of SVG with attributes. */
export function draw(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Give an element this text, if it has another: a text that stays can be selected. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show or hide an element. */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/**
 * Let `parent` have exactly these children in this order. What stands in its place already is not touched, and the
 * focus stays where it was, since an element that is moved loses it.
 */
export function arrange(parent, children) {
  const focused = document.activeElement;
  let next = parent.firstChild;
  for (const child of children) {
    if (child === next) next = next.nextSibling;
    else parent.insertBefore(child, next);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

// What cannot be seen or turns the writing around: control characters but the newline, Unicode's format characters.
const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** A text from outside with what is unseen in it written out, as in \u202e. */
export function visible(text) {
  return String(text).replace(UNSEEN, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const HEALTH = { good: ["●", "good"], warn: ["▲", "warn"], bad: ["■", "bad"] };

/** Say a health by shape, word and colour; nothing where there is no judgement. */
export function judge(element, health) {
  if (element.dataset.health === health) return;
  element.dataset.health = health;
  const known = HEALTH[health];
  element.replaceChildren(
    ...(known ? [make("span", { class: "shape", "aria-hidden": "true" }, known[0]), ` ${known[1]}`] : []),
  );
}
