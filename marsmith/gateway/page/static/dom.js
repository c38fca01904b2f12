// Makes elements. Texts are set as texts, never as HTML: they come from models and files.

/** Return an element with properties and children; `data-…` and `aria-…` are attributes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);

/** Return a number between 0 and 1 in per cent. */
export const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** Copy a text; pages that are not from https or this machine have no clipboard of their own. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", { value: text, className: "out-of-sight" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
