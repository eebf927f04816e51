import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runInThisContext } from "node:vm";

import { GreyTable, NoPixels, PixelStore, rangeOf } from "../../static/js/pixels.js";
import { settled, standIn } from "./page.mjs";

const greyOf = (pixel) => pixel & 0xff;
const shown = (dtype, values, width, level, invert = false) => {
  const array = dtype === "int16" ? Int16Array.from(values) : dtype === "uint16" ? Uint16Array.from(values) : Uint8Array.from(values);
  const out = new Uint32Array(array.length);
  const table = new GreyTable(dtype);
  table.set(width, level, invert);
  table.map(array, out);
  return out;
};

/** PS3.3 C.11.2.1.2, linear: written down again from the standard. */
function standard(x, width, level) {
  if (x <= level - 0.5 - (width - 1) / 2) return 0;
  if (x > level - 0.5 + (width - 1) / 2) return 255;
  return Math.round(((x - (level - 0.5)) / (width - 1) + 0.5) * 255);
}

test("every grey is that of the standard's linear window", () => {
  for (const [width, level] of [[400, 40], [150, 60], [1500, -600], [2, 0], [4096, 1024]]) {
    const values = Array.from({ length: 6000 }, (_, at) => at - 2500);
    const greys = [...shown("int16", values, width, level)].map(greyOf);
    assert.deepEqual(greys, values.map((value) => standard(value, width, level)), `${width} ${level}`);
  }
});

test("the other curves of the standard are drawn as it writes them", () => {
  const greys = (curve, values) => {
    const table = new GreyTable("int16");
    const out = new Uint32Array(values.length);
    table.set(100, 40, false, curve);
    table.map(Int16Array.from(values), out);
    return [...out].map(greyOf);
  };
  const values = [-1000, -10, 15, 40, 65, 90, 1000];
  assert.deepEqual(greys("linear-exact", values), values.map((x) => Math.round(255 * Math.min(1, Math.max(0, (x - 40) / 100 + 0.5)))));
  assert.deepEqual(greys("sigmoid", values), values.map((x) => Math.round(255 / (1 + Math.exp(-4 * (x - 40) / 100)))));
  assert.notDeepEqual(greys("sigmoid", values), greys("linear", values));
});

test("a table is drawn step by step, and below its first step as there", () => {
  const table = new GreyTable("int16");
  const values = [-32768, -101, -100, -1, 0, 49, 50, 32767];
  const out = new Uint32Array(values.length);
  for (const [invert, greys] of [[false, [10, 10, 10, 10, 200, 200, 30, 30]], [true, [245, 245, 245, 245, 55, 55, 225, 225]]]) {
    table.set(1, 0, invert, "table", [[-100, 10], [0, 200], [50, 30]]);
    table.map(Int16Array.from(values), out);
    assert.deepEqual([...out].map(greyOf), greys);
  }
});

test("the ends of a file's values are black and white, not wrapped round", () => {
  assert.deepEqual([...shown("int16", [-32768, 32767], 400, 40)].map(greyOf), [0, 255]);
  assert.deepEqual([...shown("uint16", [0, 65535], 400, 40000)].map(greyOf), [0, 255]);
  assert.deepEqual([...shown("uint8", [0, 255], 256, 128)].map(greyOf), [0, 255]);
});

test("a width below 1 is taken as 1: black up to the level, white above", () => {
  assert.deepEqual([...shown("int16", [9, 10, 11], 0, 10)].map(greyOf), [0, 255, 255]);
});

test("inverting turns every grey over, and all pixels are opaque", () => {
  const values = Array.from({ length: 500 }, (_, at) => at - 200);
  const plain = [...shown("int16", values, 400, 40)];
  const turned = [...shown("int16", values, 400, 40, true)];
  assert.deepEqual(turned.map(greyOf), plain.map((pixel) => 255 - greyOf(pixel)));
  assert.ok(turned.every((pixel) => pixel >>> 24 === 255));
});

test("the range of a slice is its smallest and largest value", () => {
  assert.deepEqual(rangeOf(Int16Array.of(4, -7, 12, 0)), [-7, 12]);
  assert.deepEqual(rangeOf(Uint8Array.of(5)), [5, 5]);
});

const image = (id) => ({ id, dtype: "int16", rows: 2, columns: 2 });
const bytes = (...values) => new Uint8Array(Int16Array.from(values).buffer);

function served(context, says) {
  standIn(context);
  const asked = [];
  context.mock.method(globalThis, "fetch", async (address) => {
    asked.push(address.split("/")[2]);
    return says(address.split("/")[2]);
  });
  return asked;
}
const whole = () => new Response(bytes(1, 2, 3, 4));

test("pixels arrive as they were sent, are kept, and are fetched once", async (context) => {
  const asked = served(context, whole);
  const store = new PixelStore();
  const [one, other] = await Promise.all([store.get(image("a")), store.get(image("a"))]);
  assert.deepEqual([...one], [1, 2, 3, 4]);
  assert.equal(one, other);
  assert.equal(store.peek(image("a")), one);
  assert.equal(await store.get(image("a")), one);
  assert.deepEqual(asked, ["a"]);
});

const FIRST = readFileSync(new URL("../../static/js/first.js", import.meta.url), "utf8");

/** What the page does before its modules: the link that preloads a slice, and the script after it. */
function askFirst(context, id) {
  const href = `http://127.0.0.1:8000/images/${id}/pixels`;
  const before = Object.getOwnPropertyDescriptor(globalThis, "document");
  globalThis.document = { currentScript: { previousElementSibling: { href } } };
  runInThisContext(FIRST);
  if (before) Object.defineProperty(globalThis, "document", before); else delete globalThis.document;
  context.after(() => { delete globalThis.firstPixels; });
}

test("what was asked for before the modules came is not asked for again, and once only", async (context) => {
  standIn(context);
  const asked = [];
  context.mock.method(globalThis, "fetch", async (address) => { asked.push(address); return whole(); });
  askFirst(context, "a");
  const store = new PixelStore({ budgetBytes: 8 });
  assert.deepEqual([...await store.get(image("a"))], [1, 2, 3, 4]);
  assert.deepEqual(asked, ["http://127.0.0.1:8000/images/a/pixels"]);
  await store.get(image("b")); // and "a" is kept no longer
  await store.get(image("a"));
  assert.deepEqual(asked.slice(1), ["/images/b/pixels", "/images/a/pixels"]);
});

test("a first slice that failed is told as any other, and the next try asks anew", async (context) => {
  standIn(context);
  const replies = [() => { throw new TypeError("away"); }, whole];
  context.mock.method(globalThis, "fetch", async () => replies.shift()());
  askFirst(context, "a");
  const store = new PixelStore();
  await assert.rejects(store.get(image("a")), { status: 0, message: "the server cannot be reached." });
  assert.deepEqual([...await store.get(image("a"))], [1, 2, 3, 4]);
});

test("a slice that arrives incomplete or too long is refused and not kept", async (context) => {
  for (const body of [bytes(1, 2, 3), bytes(1, 2, 3, 4, 5), new Uint8Array(0)]) {
    served(context, () => new Response(body));
    const store = new PixelStore();
    await assert.rejects(store.get(image("a")), (error) => error instanceof NoPixels && error.status === 0);
    assert.equal(store.peek(image("a")), null);
    context.mock.restoreAll();
  }
});

test("what the server says is told, and no network is told as such; the next try asks anew", async (context) => {
  const replies = [
    () => new Response(JSON.stringify({ detail: "This image is gone." }), { status: 404 }),
    () => new Response("", { status: 401 }),
    () => new Response("<p>", { status: 502 }),
    () => { throw new TypeError("away"); },
    whole,
  ];
  served(context, () => replies.shift()());
  const store = new PixelStore();
  for (const [status, words] of [[404, "This image is gone."], [401, "you are signed out."], [502, "the server answered 502."], [0, "the server cannot be reached."]]) {
    await assert.rejects(store.get(image("a")), { status, message: words });
  }
  assert.deepEqual([...await store.get(image("a"))], [1, 2, 3, 4]);
});

test("what is kept stays within its budget, and what was used last stays longest", async (context) => {
  served(context, whole);
  const store = new PixelStore({ budgetBytes: 16 }); // two slices of 8 bytes
  await store.get(image("a"));
  await store.get(image("b"));
  store.peek(image("a"));
  await store.get(image("c"));
  assert.ok(store.peek(image("a")) && store.peek(image("c")));
  assert.equal(store.peek(image("b")), null);
});

test("a slice larger than the budget is shown all the same", async (context) => {
  served(context, whole);
  const store = new PixelStore({ budgetBytes: 1 });
  await store.get(image("a"));
  assert.ok(store.peek(image("a")));
});

test("no prefetch begins while somebody waits for a slice", async (context) => {
  const waits = new Map();
  const asked = served(context, (id) => new Promise((resolve) => { waits.set(id, () => resolve(whole())); }));
  const store = new PixelStore({ parallel: 1 });
  const wanted = store.get(image("a"));
  store.prefetch([image("b"), image("c")]);
  await settled();
  assert.deepEqual(asked, ["a"]);
  waits.get("a")();
  await wanted;
  await settled();
  assert.deepEqual(asked, ["a", "b"]);
  store.prefetch([image("d")]); // c is no longer near
  waits.get("b")();
  await settled();
  assert.deepEqual(asked, ["a", "b", "d"]);
});
