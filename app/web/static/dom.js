// The one way in which this page makes elements. Strings become text nodes, never markup: what comes from a
// manifest or a file name stays data.

/** An element with properties (or attributes, where there is no such property) and children; null children are left out. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** The element with an id that index.html promises. */
export function byId(id) {
  return document.getElementById(id);
}
