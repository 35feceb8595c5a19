// Puts values into a page that the server has drawn: the text of `data-t`, the attributes of `data-a`, the rows of `data-list`.
// Elements are reused and looked up once, so that a page left open does not grow. Draws nothing by itself.

const known = new WeakMap();

export function at(value, path) {
  if (!path) return value;
  for (const name of path.split(".")) {
    if (value === null || value === undefined) return undefined;
    value = value[name];
  }
  return value;
}

function tonePath(path) {
  return path.endsWith(".text") ? path.slice(0, -4) + "tone" : "";
}

function fieldsOf(root) {
  let fields = known.get(root);
  if (fields) return fields;
  fields = { texts: [], attributes: [], shown: [], lists: [] };
  const note = (element) => {
    const set = element.dataset;
    if (set.t !== undefined) fields.texts.push([element, set.t, tonePath(set.t)]);
    for (const pair of (set.a || "").split(" ").filter(Boolean)) {
      const cut = pair.indexOf(":");
      fields.attributes.push([element, pair.slice(0, cut), pair.slice(cut + 1)]);
    }
    if (set.show !== undefined) fields.shown.push([element, set.show, true]);
    if (set.hide !== undefined) fields.shown.push([element, set.hide, false]);
    if (set.list !== undefined) fields.lists.push([element, set.list, element.querySelector(":scope > template")]);
  };
  const walk = (element) => {
    note(element);
    if (element.dataset && element.dataset.list !== undefined) return;
    for (const child of element.children) walk(child);
  };
  walk(root);
  known.set(root, fields);
  return fields;
}

function set(element, name, value) {
  const text = value === null || value === undefined ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

function fillList(list, template, rows) {
  const items = Array.from(list.children).filter((child) => child !== template);
  while (items.length > rows.length) items.pop().remove();
  while (items.length < rows.length) {
    const row = template.content.firstElementChild.cloneNode(true);
    list.insertBefore(row, template);
    items.push(row);
  }
  rows.forEach((row, place) => show(items[place], row));
}

export function show(root, value) {
  const fields = fieldsOf(root);
  for (const [element, path, tone] of fields.texts) {
    const found = at(value, path);
    const text = found === null || found === undefined ? "" : String(found);
    if (element.textContent !== text) element.textContent = text;
    if (tone) set(element, "data-tone", at(value, tone));
  }
  for (const [element, name, path] of fields.attributes) set(element, name, at(value, path));
  for (const [element, path, wanted] of fields.shown) {
    const hidden = Boolean(at(value, path)) !== wanted;
    if (element.hidden !== hidden) element.hidden = hidden;
  }
  for (const [list, path, template] of fields.lists) fillList(list, template, at(value, path) || []);
}
