// Where this installation lies below its host (HEPATICA_ROOT_PATH). Addresses that a page or an answer
// holds are whole; those that scripts make themselves go through rooted().

/** "" at the root of the host, else such as "/hepatica". */
export const ROOT = globalThis.document?.documentElement?.dataset?.root ?? "";

/** A path of the application, as it is asked for from here. */
export const rooted = (path) => ROOT + path;
