import assert from "node:assert/strict";
import { test } from "node:test";

import { Queue } from "../../static/js/desk/queue.js";
import { Storage } from "./page.mjs";

const answer = (key) => ({ trial: `trial ${key}`, key, rating: "2", reasons: [] });
const keys = (queue) => queue.all().map((one) => one.key);

test("answers come out in the order in which they were given, however fast", () => {
  const queue = new Queue("t", new Storage());
  for (const key of ["c", "a", "b", "z", "d"]) queue.add(answer(key));
  assert.deepEqual(keys(queue), ["c", "a", "b", "z", "d"]);
  assert.equal(queue.length, 5);
});

test("an answer stays until it is removed by its own key", () => {
  const storage = new Storage();
  const queue = new Queue("t", storage);
  queue.add(answer("a"));
  queue.add(answer("b"));
  queue.remove("c");
  assert.deepEqual(keys(queue), ["a", "b"]);
  queue.remove("a");
  assert.deepEqual(keys(new Queue("t", storage)), ["b"]); // as the next page finds it
});

test("a full storage loses nothing: the page keeps it, and says how many", () => {
  const storage = new Storage();
  const queue = new Queue("t", storage);
  queue.add(answer("a"));
  storage.isFull = true;
  queue.add(answer("b"));
  queue.add(answer("c"));
  assert.deepEqual(keys(queue), ["a", "b", "c"]);
  assert.equal(queue.unsafe, 2);
  assert.deepEqual(keys(new Queue("t", storage)), ["a"]);
});

test("what the page kept goes into the storage as soon as there is room", () => {
  const storage = new Storage();
  const queue = new Queue("t", storage);
  queue.add(answer("a"));
  storage.isFull = true;
  queue.add(answer("b"));
  storage.isFull = false;
  queue.remove("a");
  assert.equal(queue.unsafe, 0);
  assert.deepEqual(keys(new Queue("t", storage)), ["b"]);
});

test("a browser without storage still sends, from the page alone", () => {
  const queue = new Queue("t", null);
  queue.add(answer("a"));
  queue.add(answer("b"));
  assert.deepEqual(keys(queue), ["a", "b"]);
  assert.equal(queue.unsafe, 2);
  queue.remove("a");
  assert.deepEqual(keys(queue), ["b"]);
  assert.deepEqual(queue.aside(), []);
});

test("an answer that is set aside leaves the queue and is kept with its reason", () => {
  const storage = new Storage();
  const queue = new Queue("t", storage);
  queue.add(answer("a"));
  queue.add(answer("b"));
  queue.setAside(answer("a"), "It was answered before.");
  assert.deepEqual(keys(queue), ["b"]);
  const [kept] = new Queue("t", storage).aside();
  assert.equal(kept.key, "a");
  assert.equal(kept.reason, "It was answered before.");
});

test("an answer that there is no room for beside the queue stays in it, as it was stored", () => {
  const storage = new Storage();
  const queue = new Queue("t", storage);
  for (const key of ["a", "b"]) queue.add(answer(key));
  const takes = storage.setItem.bind(storage);
  storage.setItem = (name, text) => { if (name.startsWith("hepatica-aside")) throw new Error("QuotaExceededError"); takes(name, text); };
  assert.equal(queue.setAside(answer("a"), "It was answered before."), false);
  assert.deepEqual(keys(new Queue("t", storage)), ["a", "b"]);
  assert.deepEqual(queue.aside(), []);
  storage.isFull = true;
  delete storage.setItem;
  assert.equal(queue.setAside(answer("a"), "It was answered before."), false);
  assert.deepEqual(keys(queue), ["a", "b"]);
});

test("what is set aside makes room for itself by leaving the queue", () => {
  const storage = new Storage();
  const queue = new Queue("t", storage);
  queue.add(answer("a"));
  const takes = storage.setItem.bind(storage);
  storage.setItem = (name, text) => { if (storage.length > 0) throw new Error("QuotaExceededError"); takes(name, text); };
  assert.equal(queue.setAside(answer("a"), "It was answered before."), true);
  assert.deepEqual(keys(queue), []);
  assert.deepEqual(new Queue("t", storage).aside().map((one) => one.key), ["a"]);
});

test("what is set aside without room is in the page, counted, until there is room", () => {
  const storage = new Storage();
  const queue = new Queue("t", storage);
  queue.add(answer("a"));
  queue.add(answer("b"));
  storage.isFull = true;
  queue.setAsideHere(answer("a"), "It was answered before.");
  assert.deepEqual(keys(queue), ["b"]);
  assert.equal(queue.unsafeAside, 1);
  assert.deepEqual(queue.aside().map((one) => one.key), ["a"]);
  storage.isFull = false;
  queue.remove("b");
  assert.equal(queue.unsafeAside, 0);
  assert.deepEqual(new Queue("t", storage).aside().map((one) => one.key), ["a"]);
});

test("two tabs never write over one another", () => {
  const storage = new Storage();
  const one = new Queue("t", storage);
  const other = new Queue("t", storage);
  one.add(answer("a"));
  other.add(answer("b"));
  one.add(answer("c"));
  assert.deepEqual(keys(one), ["a", "b", "c"]);
  assert.deepEqual(keys(other), ["a", "b", "c"]);
});

test("another reading's answers are none of this one", () => {
  const storage = new Storage();
  new Queue("other", storage).add(answer("a"));
  assert.equal(new Queue("t", storage).length, 0);
});

test("an item that cannot be read is left where it is", () => {
  const storage = new Storage();
  storage.setItem("hepatica-desk:t:000000000000001:x", "{half");
  const queue = new Queue("t", storage);
  assert.equal(queue.length, 0);
  queue.add(answer("a"));
  queue.remove("a");
  assert.equal(storage.getItem("hepatica-desk:t:000000000000001:x"), "{half");
});

test("answers of an earlier version are taken over in their order", () => {
  const storage = new Storage();
  storage.setItem("hepatica-desk:t", JSON.stringify([answer("a"), answer("b")]));
  assert.deepEqual(keys(new Queue("t", storage)), ["a", "b"]);
  assert.equal(storage.getItem("hepatica-desk:t"), null);
});
