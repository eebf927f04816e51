import assert from "node:assert/strict";
import { test } from "node:test";

import { Queue } from "../../static/js/desk/queue.js";
import { Sending, SendingState, Trouble } from "../../static/js/desk/sending.js";
import { Tabs } from "../../static/js/desk/tabs.js";
import { Channel, settled, standIn, Storage } from "./page.mjs";

/** A server that answers what the test says; `hold` keeps its replies back until `letGo`. */
function made(context, { keys = [], storage = new Storage() } = {}) {
  const page = standIn(context);
  const queue = new Queue("t", storage);
  for (const key of keys) queue.add({ trial: key, key, rating: "2", reasons: ["edge", "noise"] });
  const heard = [];
  const server = { answered: 0, got: [], says: null, isHeld: false, waiting: [] };
  server.letGo = async () => { server.waiting.splice(0).forEach((go) => go()); await settled(); };
  const reply = (status, body) => ({ ok: status < 400, status, json: async () => { if (body === null) throw new Error("no JSON"); return body; } });
  const news = () => ({ answered: server.answered, upcoming: [], state: "reading" });
  context.mock.method(globalThis, "fetch", async (address, options = {}) => {
    if (server.isHeld) await new Promise((go) => { server.waiting.push(go); });
    if (server.says === "away") throw new TypeError("no network");
    const key = options.body?.get("key");
    server.got.push(options.method === "POST" ? key : address);
    const said = server.says?.(key);
    if (said) return reply(...said);
    if (options.method === "POST") server.answered += 1;
    return reply(200, news());
  });
  const delegate = { isAside: false };
  for (const name of ["stored", "wasRefused", "allSent", "learned", "signedOut"]) {
    delegate[name] = (...parts) => heard.push([name, ...parts.slice(-1).map((part) => part?.answered ?? part)]);
  }
  delegate.changed = () => {};
  const sending = new Sending({ address: "/readings/t", queue, delegate });
  sending.start();
  return { ...page, queue, sending, server, delegate, heard, names: () => heard.map(([name]) => name) };
}
const kept = (queue) => queue.all().map((one) => one.key);

test("answers arrive one by one, in their order, with all that is in them", async (context) => {
  const { queue, sending, server, names } = made(context, { keys: ["a", "b", "c"] });
  await sending.send();
  assert.deepEqual(server.got, ["a", "b", "c"]);
  assert.deepEqual(fetch.mock.calls[0].arguments[1].body.getAll("reasons"), ["edge", "noise"]);
  assert.deepEqual(names(), ["stored", "stored", "stored", "allSent"]);
  assert.equal(queue.length, 0);
  assert.equal(sending.state, SendingState.idle);
});

test("a second send while one is under way sends nothing twice", async (context) => {
  const { sending, server } = made(context, { keys: ["a", "b"] });
  server.isHeld = true;
  const first = sending.send();
  assert.equal(sending.state, SendingState.sending);
  await sending.send();
  await sending.again();
  server.isHeld = false;
  await server.letGo();
  await first;
  assert.deepEqual(server.got, ["a", "b"]);
});

test("a refusal stops the others: nothing is sent or lost until it is decided", async (context) => {
  const { queue, sending, server, heard, timers, window } = made(context, { keys: ["a", "b", "c"] });
  server.says = (key) => (key === "b" ? [409, { detail: "It was answered before." }] : null);
  await sending.send();
  assert.deepEqual(kept(queue), ["b", "c"]);
  assert.equal(sending.state, SendingState.refused);
  assert.deepEqual(heard.at(-1), ["wasRefused", "It was answered before."]);
  await sending.send();
  window.fire("online");
  sending.later();
  await timers.pass(60_000);
  assert.deepEqual(server.got, ["a", "b"]);
  queue.setAside(queue.all()[0], "It was answered before.");
  sending.settle();
  await sending.again();
  assert.deepEqual(server.got, ["a", "b", "c"]);
  assert.equal(queue.length, 0);
});

test("only what the server says of the answer itself is a refusal", async (context) => {
  const away = [
    [500, { detail: "x" }, Trouble.away], [401, { detail: "x" }, Trouble.signedOut], [200, null, Trouble.away],
    [200, { welcome: "hotel" }, Trouble.away], [404, null, Trouble.away], [403, { detail: "Not from here." }, "Not from here."],
  ];
  const { queue, sending, server, names } = made(context, { keys: ["a"] });
  for (const [status, body, trouble] of away) {
    server.says = () => [status, body];
    await sending.send();
    assert.equal(sending.trouble, trouble, `${status}`);
    assert.equal(sending.state, SendingState.waiting);
    assert.deepEqual(kept(queue), ["a"]);
  }
  assert.deepEqual(names(), []);
});

test("without the network it tries again by itself, less and less often", async (context) => {
  const { queue, sending, server, timers } = made(context, { keys: ["a"] });
  server.says = "away";
  await sending.send();
  const tries = () => fetch.mock.callCount();
  assert.equal(tries(), 1);
  await timers.pass(1_999);
  assert.equal(tries(), 1);
  await timers.pass(1);
  assert.equal(tries(), 2);
  await timers.pass(3_999);
  assert.equal(tries(), 2);
  await timers.pass(300_000);
  assert.ok(tries() > 15); // never more than 15 s apart
  server.says = null;
  await timers.pass(15_000);
  assert.equal(queue.length, 0);
  assert.equal(timers.size, 0);
});

test("under another person's sign-in an answer waits without a try, and goes when the reader is back", async (context) => {
  const { document, queue, sending, server, timers } = made(context, { keys: ["a"] });
  server.says = () => [404, { detail: "No such reading.", other_reader: true }];
  await sending.send();
  assert.equal(sending.trouble, Trouble.otherReader);
  assert.deepEqual(kept(queue), ["a"]);
  await timers.pass(300_000);
  assert.equal(server.got.length, 1);
  server.says = null;
  document.hidden = false;
  document.fire("visibilitychange");
  await settled();
  assert.equal(queue.length, 0);
  assert.equal(sending.trouble, Trouble.none);
});

test("the network that comes back is used at once", async (context) => {
  const { queue, sending, server, window } = made(context, { keys: ["a"] });
  server.says = "away";
  await sending.send();
  server.says = null;
  window.fire("online");
  await settled();
  assert.equal(queue.length, 0);
  assert.equal(sending.trouble, Trouble.none);
});

test("with nothing to send it asks how the reading stands, once at a time", async (context) => {
  const { sending, server, heard } = made(context);
  server.isHeld = true;
  const first = sending.again();
  assert.equal(sending.state, SendingState.asking);
  await sending.again();
  server.isHeld = false;
  await server.letGo();
  await first;
  assert.deepEqual(server.got, ["/readings/t"]);
  assert.deepEqual(heard, [["learned", 0]]);
});

test("an answer that is sent meanwhile goes before a question, whose older news is not listened to", async (context) => {
  const { queue, sending, server, heard } = made(context);
  server.isHeld = true;
  const asked = sending.again();
  queue.add({ key: "a", trial: "a" });
  const sent = sending.send();
  server.isHeld = false;
  await server.letGo();
  await Promise.all([asked, sent]);
  assert.deepEqual(heard, [["stored", 1], ["allSent"]]);
});

test("an older question is not answered in the place of a newer one", async (context) => {
  const { queue, sending, server, names } = made(context);
  server.isHeld = true;
  const first = sending.again();
  server.isHeld = false;
  queue.add({ key: "a", trial: "a" });
  await sending.send();
  server.isHeld = true;
  const second = sending.again();
  server.waiting.shift()(); // the first
  await first;
  assert.deepEqual(names(), ["stored", "allSent"]);
  server.isHeld = false;
  await server.letGo();
  await second;
  assert.deepEqual(names(), ["stored", "allSent", "learned"]);
});

test("after an answer has arrived the tries begin at their shortest again", async (context) => {
  const { queue, sending, server, timers } = made(context, { keys: ["a"] });
  server.says = "away";
  await sending.send();
  await timers.pass(100_000);
  server.says = null;
  await timers.pass(15_000);
  server.says = "away";
  queue.add({ key: "b", trial: "b" });
  await sending.send();
  const before = fetch.mock.callCount();
  await timers.pass(2_000);
  assert.equal(fetch.mock.callCount(), before + 1);
});

test("a page that is no answer of ours is asked again; one without a session leads to the sign-in", async (context) => {
  const { sending, server, names } = made(context);
  server.says = () => [200, { welcome: "hotel" }];
  await sending.again();
  assert.equal(sending.state, SendingState.waiting);
  assert.deepEqual(names(), []);
  server.says = () => [401, {}];
  await sending.again();
  assert.deepEqual(names(), ["signedOut"]);
});

test("a tab that stands aside sends only what no other tab could", async (context) => {
  const { sending, server, delegate, queue } = made(context, { keys: ["a"] });
  delegate.isAside = true;
  await sending.send();
  await sending.again();
  assert.deepEqual(server.got, []);
  queue.storage.isFull = true;
  queue.add({ key: "b", trial: "b" });
  await sending.again();
  assert.deepEqual(server.got, ["a", "b"]);
});

test("after stop nothing listens, waits or is told; what arrived leaves the queue", async (context) => {
  const { sending, server, names, queue, window, timers } = made(context, { keys: ["a", "b"] });
  server.isHeld = true;
  const sent = sending.send();
  sending.stop();
  server.isHeld = false;
  await server.letGo();
  await sent;
  assert.deepEqual(kept(queue), ["b"]);
  assert.deepEqual(names(), []);
  assert.equal(window.listeners, 0);
  await sending.send();
  await sending.again();
  sending.later();
  assert.equal(timers.size, 0);
  assert.deepEqual(server.got, ["a"]);
  sending.start();
  await sending.send();
  assert.equal(queue.length, 0);
});

test("what cannot be had of an earlier image or of a page is said to be so", async (context) => {
  const { sending, server } = made(context);
  server.says = "away";
  assert.equal(await sending.earlier(3), null);
  assert.equal(await sending.reaches("/readings"), false);
  server.says = () => [404, { detail: "x" }];
  assert.equal(await sending.earlier(3), null);
  assert.equal(await sending.reaches("/readings"), false);
  server.says = () => [200, { token: "t3", position: 3 }];
  assert.equal((await sending.earlier(3)).position, 3);
  assert.equal(await sending.reaches("/readings"), true);
});

function tab(session = new Storage(), name = "x") {
  const delegate = { isAside: false, standAside() { this.isAside = true; } };
  return { session, delegate, tabs: new Tabs({ name, session, delegate }) };
}

test("the tab that is opened later stands aside", (context) => {
  standIn(context);
  const [first, second] = [tab(), tab()];
  first.tabs.start();
  second.tabs.start();
  assert.deepEqual([first.delegate.isAside, second.delegate.isAside], [false, true]);
});

test("a tab that claims the reading has it after its next load, and once", (context) => {
  standIn(context);
  const [first, second] = [tab(), tab()];
  first.tabs.start();
  second.tabs.claim();
  second.tabs.start();
  assert.deepEqual([first.delegate.isAside, second.delegate.isAside], [true, false]);
  assert.equal(second.session.length, 0);
});

test("tabs of two readings know nothing of each other, and a stopped one answers nobody", (context) => {
  standIn(context);
  const [first, other, later] = [tab(), tab(new Storage(), "y"), tab()];
  first.tabs.start();
  other.tabs.start();
  first.tabs.stop();
  later.tabs.start();
  assert.deepEqual([other.delegate.isAside, later.delegate.isAside], [false, false]);
  assert.equal(Channel.open.size, 2);
});

test("an answer is sent with how long it waited here, and not with this browser's clock", async (context) => {
  const { sending, queue } = made(context);
  queue.add({ key: "a", given_at: Date.now() - 5000 });
  await sending.send();
  const { body } = fetch.mock.calls[0].arguments[1];
  assert.ok(Math.abs(Number(body.get("waited_ms")) - 5000) < 1000);
  assert.equal(body.get("given_at"), null);
});
