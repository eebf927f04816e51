// What the case page keeps until it is stored: the outbox and the drafts.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Drafts, forgetDrafts } from "../../static/js/drafts.js";
import { isKnown, Outbox, uuid } from "../../static/js/outbox.js";
import { settled, standIn } from "./page.mjs";

/** An item whose sending ends as the test says. */
function item(key, more = {}) {
  const made = { key, sent: 0, got: null, ...more };
  made.send = () => { made.sent += 1; return new Promise((resolve, reject) => Object.assign(made, { resolve, reject })); };
  made.done = (answer) => { made.got = answer; };
  return made;
}

test("an item leaves the outbox when the server has it, and not before", async () => {
  const outbox = new Outbox();
  const one = item("a");
  outbox.put(one);
  assert.ok(outbox.isSending("a"));
  outbox.drop("a"); // on its way: it may be stored already
  assert.equal(outbox.size, 1);
  one.resolve("stored");
  await settled();
  assert.equal(one.got, "stored");
  assert.equal(outbox.size, 0);
});

test("nothing of one key is sent twice at a time", () => {
  const outbox = new Outbox();
  const one = item("a");
  assert.ok(outbox.put(one));
  assert.ok(!outbox.put(item("a")));
  assert.equal(outbox.get("a"), one);
  assert.equal(outbox.again(), 0);
  assert.equal(one.sent, 1);
});

test("what trying again may help is kept and sent again as it is; a refusal is not", async () => {
  for (const [status, state] of [[0, "failed"], [401, "failed"], [408, "failed"], [429, "failed"], [503, "failed"], [403, "refused"], [404, "refused"], [409, "refused"], [422, "refused"]]) {
    const outbox = new Outbox();
    const one = item("a");
    outbox.put(one);
    one.reject({ status });
    await settled();
    assert.equal(outbox.get("a").state, state, `${status}`);
    assert.equal(outbox.again(), state === "failed" ? 1 : 0);
  }
});

test("a refusal that was dealt with is not shown", async () => {
  const outbox = new Outbox();
  const heard = [];
  const one = item("a", { refused: (refusal, final) => { heard.push(final); return true; } });
  outbox.put(one);
  one.reject({ status: 409 });
  await settled();
  assert.deepEqual(heard, [true]);
  assert.equal(outbox.size, 0);
});

test("an answer to what was cleared meanwhile changes nothing", async () => {
  const outbox = new Outbox();
  const one = item("a");
  outbox.put(one);
  outbox.clear();
  one.resolve("stored");
  await settled();
  assert.equal(one.got, null);
  assert.equal(outbox.size, 0);
});

test("only an answer of 4xx makes certain that nothing was stored", () => {
  assert.deepEqual([0, 400, 409, 499, 500, 503].map((status) => isKnown({ status })), [false, true, true, true, false, false]);
});

test("every id is another random UUID of version 4", () => {
  const ids = Array.from({ length: 500 }, uuid);
  assert.equal(new Set(ids).size, 500);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

/** sessionStorage with its names as properties. */
function session(context, { isFull = false } = {}) {
  const store = Object.create({
    getItem(name) { return Object.hasOwn(this, name) ? this[name] : null; },
    setItem(name, text) { if (isFull) throw new Error("QuotaExceededError"); this[name] = String(text); },
    removeItem(name) { delete this[name]; },
  });
  standIn(context).window.sessionStorage = store;
  return store;
}

test("a draft is there after the page is loaded again, for its own person and kind alone", (context) => {
  session(context);
  new Drafts("ann", "review").set("l1", { note: "x" });
  assert.deepEqual(new Drafts("ann", "review").get("l1"), { note: "x" });
  assert.equal(new Drafts("ann", "box").get("l1"), null);
  assert.equal(new Drafts("bob", "review").get("l1"), null);
});

test("somebody else's drafts are forgotten, not only hidden; another program's items are left", (context) => {
  const store = session(context);
  new Drafts("ann", "review").set("l1", { note: "x" });
  store.setItem("other", "1");
  new Drafts("bob", "review");
  assert.deepEqual(Object.keys(store), ["other"]);
  new Drafts("bob", "box").set("b", {});
  forgetDrafts();
  assert.deepEqual(Object.keys(store), ["other"]);
});

test("a full or forbidden storage keeps the draft in this page", (context) => {
  session(context, { isFull: true });
  const full = new Drafts("ann", "review");
  full.set("l1", { note: "x" });
  assert.deepEqual(full.get("l1"), { note: "x" });
  Object.defineProperty(window, "sessionStorage", { get() { throw new Error("SecurityError"); } });
  const forbidden = new Drafts("ann", "review");
  forbidden.set("l1", { note: "y" });
  assert.deepEqual(forbidden.all(), [["l1", { note: "y" }]]);
});

test("a draft that cannot be read is dropped, the others are not", (context) => {
  const store = session(context);
  store.setItem("hepatica-draft:ann:review:bad", "{half");
  store.setItem("hepatica-draft:ann:review:good", "{}");
  assert.deepEqual(new Drafts("ann", "review").all(), [["good", {}]]);
  assert.equal(store.getItem("hepatica-draft:ann:review:bad"), null);
});

test("a draft moves with its lesion, and moving none does nothing", (context) => {
  session(context);
  const drafts = new Drafts("ann", "review");
  drafts.set("old", { note: "x" });
  drafts.move("old", "new");
  drafts.move("none", "new");
  assert.deepEqual(new Drafts("ann", "review").all(), [["new", { note: "x" }]]);
  drafts.forget();
  assert.equal(new Drafts("ann", "review").size, 0);
});
