// The first picture is asked for while the modules are still on their way; not a module itself, so that
// it runs at once. The store of the page takes the answer over (pixels.js).

{
  const { href } = document.currentScript.previousElementSibling; // the link that preloads it
  const control = new AbortController();
  const answer = fetch(href, { priority: "high", signal: control.signal, headers: { Accept: "application/octet-stream, application/json" } });
  answer.catch(() => {}); // whoever takes it over says so
  globalThis.firstPixels = { path: new URL(href).pathname, answer, control };
}
