// What a person is used to, kept in this browser: the mouse and the last window.

const KEY = "habits of";
/** How greys may be drawn by a window, beside the plain way, which needs no name (VoiFunction). */
export const CURVES = ["linear-exact", "sigmoid"];

/** {mouse, window: {width, level, curve}} of a person; what was never chosen is absent. */
export function habitsOf(person) {
  try {
    const kept = JSON.parse(localStorage.getItem(`${KEY} ${person}`));
    return kept !== null && typeof kept === "object" ? kept : {};
  } catch {
    return {}; // unreadable, or no storage: as if nothing had been chosen
  }
}

export function keepHabit(person, name, value) {
  try {
    localStorage.setItem(`${KEY} ${person}`, JSON.stringify({ ...habitsOf(person), [name]: value }));
  } catch { /* no storage: it holds until the page is left */ }
}

/** A window that was kept, if it is one. */
export function windowOf(habits) {
  const { width, level, curve } = habits.window ?? {};
  if (!(Number.isFinite(width) && Number.isFinite(level) && width >= 1)) return null;
  return CURVES.includes(curve) ? { width, level, curve } : { width, level };
}
