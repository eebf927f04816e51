// Keys. One table of keys per page; the key list people see is made from the same table, so it
// cannot lie.

const bound = new Set();

const NAMES = {
  " ": "Space", arrowup: "↑", arrowdown: "↓", arrowleft: "←", arrowright: "→", enter: "↵",
  escape: "Esc", backspace: "⌫", pageup: "Page ↑", pagedown: "Page ↓", home: "Home", end: "End",
};

/**
 * The name of the key that was pressed: "b", "Shift+1", "Ctrl+arrowup", "[", "?".
 * Letters and digits take part in Shift; other signs are named as typed, because whether "?" needs
 * Shift depends on the keyboard. AltGr types a sign and is no modifier.
 */
export function nameOf(event) {
  const altGr = event.getModifierState?.("AltGraph") ?? false;
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code ?? "");
  let key = event.key.toLowerCase();
  // With Shift a digit key types another sign; the digit is what was meant.
  if (digit && (event.shiftKey || /^\d$/.test(key))) key = digit[1];
  const shifts = /^[a-z0-9]$/.test(key) || key.length > 1;
  const parts = [];
  if (event.ctrlKey && !altGr) parts.push("Ctrl");
  if (event.altKey && !altGr) parts.push("Alt");
  if (event.metaKey) parts.push("Meta");
  if (event.shiftKey && shifts) parts.push("Shift");
  parts.push(key);
  return parts.join("+");
}

/**
 * The digit of a key in the row of digits where the keyboard types another sign there without Shift, as
 * a French or Czech one does; "" for any other key. Other keyboards type the digit there, and one that is
 * pressed together with Shift, Ctrl, Alt or AltGr means something of its own.
 */
export function digitBelow(event) {
  const { key, code = "", shiftKey, ctrlKey, altKey, metaKey } = event;
  const digit = /^Digit(\d)$/.exec(code)?.[1] ?? "";
  if (!digit || shiftKey || ctrlKey || altKey || metaKey || event.getModifierState?.("AltGraph")) return "";
  return [...key].length === 1 && !/[a-z0-9]/i.test(key) ? digit : "";
}

/** What was meant: a sign that has a meaning on this page has it, whichever key types it. */
function meant(event) {
  const name = nameOf(event);
  return [...bound].some((table) => table.has(name)) ? name : digitBelow(event) || name;
}

function isTyping(target) {
  if (!(target instanceof Element)) return false;
  if (target.closest("textarea, select, [contenteditable='true']")) return true;
  const input = target.closest("input");
  return input !== null && !["radio", "checkbox", "button", "submit", "range"].includes(input.type);
}

function isWidgetKey(target, name) {
  if (!(target instanceof Element)) return false;
  if ((name === "enter" || name === " ") && target.closest("a, button, summary, input")) return true;
  return /arrow|home|end|page/.test(name) && target.closest("input[type='radio'], input[type='range']") !== null;
}

/**
 * Bind a table of keys.
 *
 * map: { "b": { run(event), label: "Box", group: "Marking", when(): boolean, repeat: boolean,
 *               shown: ["B"] } | function }. A run that returns false leaves the key to the browser.
 * element: where to listen (default: the document). Keys typed into a field are never taken, nor Enter,
 * Space and arrows that a focused control needs itself. Returns a function that unbinds.
 */
export function bind(map, { element = document } = {}) {
  const table = new Map(
    Object.entries(map).map(([name, entry]) => [name, typeof entry === "function" ? { run: entry } : entry]),
  );
  bound.add(table);

  function onKeyDown(event) {
    if (event.defaultPrevented || event.isComposing || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const name = meant(event);
    const entry = table.get(name);
    if (!entry || isWidgetKey(event.target, name)) return;
    if (event.repeat && entry.repeat !== true) { event.preventDefault(); return; }
    if (entry.when && !entry.when()) return;
    if (entry.run(event) !== false) event.preventDefault();
  }

  element.addEventListener("keydown", onKeyDown);
  return () => {
    element.removeEventListener("keydown", onKeyDown);
    bound.delete(table);
  };
}

/** The keys as people read them: "Shift+1" → ["Shift", "1"]. */
export function readable(name) {
  const parts = name === "+" ? ["+"] : name.split("+");
  return parts.map((part) => NAMES[part] ?? (part.length === 1 ? part.toUpperCase() : part));
}

/** Fill an element with the visible list of every bound key that has a label, by group. */
export function listKeys(target, extra = []) {
  const groups = new Map();
  const add = (group, label, keys) => {
    if (!groups.has(group)) groups.set(group, new Map());
    const rows = groups.get(group);
    if (!rows.has(label)) rows.set(label, []);
    rows.get(label).push(keys);
  };
  for (const table of bound) {
    for (const [name, entry] of table) {
      if (entry.label) add(entry.group ?? "Keys", entry.label, entry.shown ?? readable(name));
    }
  }
  for (const { group, label, shown } of extra) add(group, label, shown);

  target.replaceChildren();
  for (const [group, rows] of groups) {
    const heading = document.createElement("h3");
    heading.textContent = group;
    const list = document.createElement("div");
    list.className = "keys";
    for (const [label, choices] of rows) {
      const row = document.createElement("div");
      row.className = "keys__row";
      const text = document.createElement("span");
      text.textContent = label;
      const keys = document.createElement("span");
      keys.className = "keys__keys";
      choices.forEach((choice, n) => {
        if (n > 0) keys.append(" or ");
        for (const key of choice) {
          const cap = document.createElement("kbd");
          cap.textContent = key;
          keys.append(cap, " ");
        }
      });
      row.append(text, keys);
      list.append(row);
    }
    target.append(heading, list);
  }
}
