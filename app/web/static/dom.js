// The one way in which this page makes elements. Strings become text nodes, never markup: what comes from a
// manifest or a file name stays data. Styles are set by properties, for the server forbids style attributes.

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (or attributes, where there is no such property) and children; null children are left out. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...present(children));
  return element;
}

/** An element of SVG with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...present(children));
  return element;
}

/** Children without those that are null, flat. */
export function present(children) {
  return children.flat(2).filter((child) => child !== null && child !== undefined && child !== false);
}

/** The element with an id that index.html, or the view that is shown, promises. */
export function byId(id) {
  return document.getElementById(id);
}

/** A button. */
export function button(text, onclick, properties = {}) {
  return el("button", { type: "button", className: "quiet", onclick, ...properties }, text);
}

/** A field under its label; `control` gets an id if it has none. */
export function field(label, control, hint = null) {
  control.id ||= `field-${(field.count = (field.count ?? 0) + 1)}`;
  const told = hint === null ? null : el("span", { className: "hint", id: `${control.id}-hint` }, hint);
  if (told) control.setAttribute("aria-describedby", told.id);
  return el("div", { className: "field" }, el("label", { htmlFor: control.id }, label), control, told);
}

/** Make `wanted` the children of `list`. What is in it already is not moved: it keeps the focus, and a click that has begun. */
export function arrange(list, wanted) {
  for (const child of [...list.children]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((child, index) => {
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
  });
}

/** Say something to screen readers, politely. */
export function announce(text) {
  (document.querySelector("dialog[open] .live") ?? byId("status")).textContent = text;
}
