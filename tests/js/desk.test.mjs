import assert from "node:assert/strict";
import { test } from "node:test";

import { Desk } from "../../static/js/desk/desk.js";
import { DeskState } from "../../static/js/desk/states.js";
import { Channel, Element, settled, standIn, Storage } from "./page.mjs";

const { loading, showing, answered, told, waiting, finished, paused, refused, aside, cramped } = DeskState;
const CLASSES = { c: "cyst", m: "metastasis" };

/** The desk as the template draws it. */
function element({ total, practice, rules, upcoming, sides }) {
  const desk = new Element({
    dataset: {
      token: "t",
      pauseKey: "P",
      rules: JSON.stringify({ sides, thing: sides.length ? "pair" : "image", practice, break_every: 0, back: false, window: false, zoom: false, image_px: 64, screen: null, ...rules }),
      desk: JSON.stringify({ state: "reading", answered: 0, total, minutes_left: null, upcoming }),
    },
  });
  const radio = (name, value, hotkey) => new Element({
    type: "radio", name, value, dataset: hotkey ? { hotkey } : {}, attributes: { "aria-label": value },
  });
  const radios = sides.length ? sides.map((side, at) => radio("choice", side, String(at + 1))) : [
    ...["1", "2", "3", "4", "5", "6"].map((value) => radio("rating", value)),
    ...Object.entries(CLASSES).map(([key, value]) => radio("lesion_class", value, key)),
  ];
  const form = desk.querySelector("[data-answers]");
  form.elements = { trial: {}, key: {} };
  form.querySelectorAll = (selector) => (selector === "input[type=radio]" ? radios : []);
  const stage = desk.querySelector("[data-stage]");
  const pictures = (sides.length ? sides : [""]).map(() => new Element({ className: "desk__image" }));
  pictures.forEach((first, at) => { first.replaceWith = (next) => { pictures[at] = next; next.replaceWith = first.replaceWith; }; });
  stage.querySelectorAll = (selector) => (selector === "[data-image]" ? [...pictures] : []);
  return { desk, radios, pictures };
}

const trials = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => ({ token: `t${from + at}`, position: from + at }));

/** A desk with its server; a reader who presses keys. */
function made(context, { total = 8, practice = 0, rules = {}, ahead = 5, sides = [], storage = new Storage(), session = new Storage(), start = true } = {}) {
  const page = standIn(context);
  const time = { now: 0 };
  context.mock.method(performance, "now", () => time.now);
  const server = {
    answers: [], isAway: false, lacks: new Set(), holds: new Map(), refuses: {}, feedback: null, upTo: Infinity,
    earlier(position) {
      const { trial, rating, lesion_class: given } = this.answers[position - 1];
      return { token: trial, position, rating: Number(rating), lesion_class: given, reasons: [] };
    },
    news() {
      const count = this.answers.length;
      return {
        state: count < total ? "reading" : "finished", answered: count, total, minutes_left: 1,
        upcoming: count < total ? trials(count + 1, Math.min(total, count + ahead, this.upTo)) : [],
      };
    },
  };
  const reply = (status, body) => ({
    ok: status < 400, status, redirected: false, json: async () => structuredClone(body), blob: async () => new Blob(["x"]),
  });
  context.mock.method(globalThis, "fetch", async (address, options = {}) => {
    if (server.isAway) throw new TypeError("no network");
    if (address.startsWith("/pixels/")) await server.holds.get(address.slice(8));
    if (address.startsWith("/pixels/")) return reply(server.lacks.has(address.slice(8)) ? 503 : 200);
    if (address.includes("?position=")) return reply(200, server.earlier(Number(address.split("=")[1])));
    if (options.method !== "POST") return reply(200, server.news());
    const one = Object.fromEntries(options.body);
    if (server.refuses[one.trial]) return reply(409, { detail: server.refuses[one.trial] });
    if (!server.answers.some((other) => other.key === one.key)) server.answers.push(one);
    return reply(201, { ...server.news(), ...(server.feedback ? { feedback: server.feedback } : {}) });
  });
  const went = [];
  const { desk: root, radios, pictures } = element({ total, practice, rules, sides, upcoming: server.news().upcoming });
  const desk = new Desk({
    element: root, keyList: new Element(), storage, session,
    page: { replace: (to) => went.push(to), assign: (to) => went.push(to), reload: () => went.push("reload") },
  });
  const part = (name) => root.querySelector(`[data-${name}]`);
  page.document.closest = () => null;
  const press = async (...keys) => {
    for (const key of keys) page.document.fire("keydown", { key });
    await settled();
  };
  if (start) desk.start();
  return { ...page, desk, root, radios, pictures, server, went, part, press, time, storage, session, chosen: () => radios.filter((one) => one.checked).map((one) => one.value) };
}
const title = (made) => (made.part("cover").hidden ? null : made.part("cover-title").textContent);

test("an image is answered by keys, arrives with its times, and the next one is shown", async (context) => {
  const reading = made(context);
  const { desk, server, press, part, time } = reading;
  assert.equal(desk.state, loading);
  await settled();
  assert.equal(desk.state, showing);
  time.now += 4_000;
  await press("5", "c", "Enter");
  assert.equal(server.answers.length, 1);
  const [{ trial, rating, lesion_class: lesionClass, active_ms: active, revises }] = server.answers;
  assert.deepEqual([trial, rating, lesionClass, active, revises], ["t1", "5", "cyst", "4000", "false"]);
  assert.equal(desk.state, showing);
  assert.equal(part("position").textContent, 2);
  assert.deepEqual(reading.chosen(), []);
  assert.equal(part("saved").textContent, "saved");
});

test("of a pair both pictures are shown at once or neither, and one key names one of them", async (context) => {
  const reading = made(context, { sides: ["left", "right"], total: 3 });
  const { desk, server, press, part, pictures, timers } = reading;
  await settled();
  assert.equal(desk.state, showing);
  assert.deepEqual(pictures.map((one) => one.dataset.image), ["left", "right"]);
  assert.equal(part("block").textContent, "Pair");
  server.lacks.add("t2/right");
  desk.pictures.forget("t2");
  await press("2", "Enter");
  assert.equal(server.answers[0].choice, "right");
  assert.equal("rating" in server.answers[0], false);
  assert.equal(desk.state, waiting);
  assert.deepEqual(pictures.map((one) => one.alt), ["Lesion image on the left", "Lesion image on the right"]);
  server.lacks.clear();
  await timers.pass(20_000);
  assert.equal(desk.state, showing);
  await press("Enter");
  assert.equal(part("words").textContent, "Still missing: left or right");
});

test("an answer with a question missing is not taken", async (context) => {
  const { server, press, part } = made(context);
  await settled();
  await press("5", "Enter");
  assert.equal(server.answers.length, 0);
  assert.equal(part("words").textContent, "Still missing: lesion class");
});

test("an answer committed by the button in a tab that stands aside, or in a pause, is not taken", async (context) => {
  const { desk, server, press, root } = made(context);
  await settled();
  await press("5", "c", "p");
  assert.equal(desk.state, paused);
  const commit = async () => { root.querySelector("[data-answers]").fire("submit"); await settled(); };
  await commit();
  desk.standAside();
  await commit();
  assert.equal(desk.state, aside);
  assert.equal(server.answers.length, 0);
  assert.equal(desk.queue.length, 0);
});

test("a network that comes and goes leaves the keys and the time of the image that is there", async (context) => {
  const reading = made(context);
  const { window, press, server, time, part } = reading;
  await settled();
  time.now += 3_000;
  await press("5", "c");
  window.fire("online");
  await settled();
  assert.deepEqual(reading.chosen(), ["5", "cyst"]);
  assert.equal(part("position").textContent, 1);
  time.now += 1_000;
  await press("Enter");
  assert.equal(server.answers[0].active_ms, "4000");
});

test("an image that was answered elsewhere gives way to the next as soon as that is known", async (context) => {
  const { window, server, part } = made(context);
  await settled();
  server.answers.push({ key: "elsewhere" });
  window.fire("online");
  await settled();
  assert.equal(part("position").textContent, 2);
});

test("without the network reading goes on as far as there are pictures, then waits, then goes on by itself", async (context) => {
  const reading = made(context, { ahead: 3 });
  const { desk, server, press, timers } = reading;
  await settled();
  server.isAway = true;
  for (let image = 0; image < 3; image += 1) await press("2", "c", "Enter");
  assert.equal(desk.state, waiting);
  assert.equal(title(reading), "Waiting for the network");
  assert.equal(desk.queue.length, 3);
  server.isAway = false;
  await timers.pass(20_000);
  assert.deepEqual(server.answers.map((one) => one.trial), ["t1", "t2", "t3"]);
  assert.equal(desk.state, showing);
  assert.equal(reading.part("position").textContent, 4);
});

test("a pause takes no key, its time is idle, and it stands although the picture cannot be had", async (context) => {
  const reading = made(context);
  const { desk, server, press, time, timers } = reading;
  server.lacks.add("t2");
  desk.pictures.forget("t2");
  await settled();
  await press("2", "c");
  reading.document.fire("keydown", { key: "Enter" });
  reading.document.fire("keydown", { key: "p" }); // before it is known that the picture is not there
  await settled();
  assert.equal(desk.state, paused);
  assert.equal(title(reading), "Paused");
  server.lacks.clear();
  await timers.pass(20_000);
  assert.equal(desk.state, paused); // not by itself
  await press("3");
  assert.deepEqual(reading.chosen(), []);
  time.now += 5_000;
  await press("p");
  assert.equal(desk.state, showing);
  assert.equal(title(reading), null);
  time.now += 1_000;
  await press("3", "c", "Enter");
  assert.equal(server.answers[1].active_ms, "1000");
  assert.equal(server.answers[1].idle_ms, "5000");
});

test("a refused answer holds the desk until an Enter that comes after it could be read", async (context) => {
  const reading = made(context);
  const { desk, server, press, time, part, storage } = reading;
  await settled();
  server.refuses.t1 = "It was answered before.";
  await press("2", "c", "Enter");
  assert.equal(desk.state, refused);
  assert.match(part("cover-text").textContent, /answered before.*rating 2, cyst/);
  await press("3", "Enter");
  assert.equal(desk.state, refused);
  assert.deepEqual(reading.chosen(), []);
  time.now += 701;
  server.answers.push({ key: "elsewhere" });
  await press("Enter");
  assert.equal(desk.state, showing);
  assert.equal(part("position").textContent, 2);
  assert.equal(desk.queue.length, 0);
  assert.equal([...storage.items.keys()].filter((name) => name.startsWith("hepatica-aside:t:")).length, 1);
});

test("where the browser has no room for a refused answer that is said before it leaves the queue", async (context) => {
  const { desk, server, press, time, part, storage, window } = made(context);
  await settled();
  storage.isFull = true;
  server.refuses.t1 = "It was answered before.";
  await press("2", "c", "Enter");
  assert.match(part("cover-text").textContent, /is kept in this page/);
  time.now += 701;
  await press("Enter");
  assert.equal(desk.state, refused);
  assert.match(part("cover-text").textContent, /no room to keep your answer \(rating 2, cyst\).*Write it down/);
  await press("Enter"); // not sooner than it can be read
  assert.equal(desk.queue.length, 1);
  time.now += 701;
  server.answers.push({ key: "elsewhere" });
  await press("Enter");
  assert.equal(desk.state, showing);
  assert.equal(desk.queue.length, 0);
  assert.ok(window.fire("beforeunload").defaultPrevented); // the page has it
  await press("p");
  assert.match(part("cover-text").textContent, /but one that was not taken.*goes with this page/);
});

test("the image that was begun is there again, with its keys, after a refusal was decided", async (context) => {
  const reading = made(context);
  const { document, server, press, time, part } = reading;
  await settled();
  server.refuses.t1 = "It was answered before.";
  for (const key of ["2", "c", "Enter", "4"]) document.fire("keydown", { key });
  await settled();
  server.answers.push({ key: "elsewhere" });
  time.now += 701;
  await press("Enter");
  assert.equal(part("position").textContent, 2);
  assert.deepEqual(reading.chosen(), ["4"]);
});

test("keys that are faster than the picture stand before those of the last visit", async (context) => {
  const session = new Storage();
  session.setItem("hepatica-desk:t:begun", JSON.stringify({
    trial: "t1", chosen: { rating: "5", lesion_class: "cyst" }, reasons: [], changes: 0, view: {}, active: 10, hidden: 0, idle: 0,
  }));
  const reading = made(context, { session });
  await reading.press("3");
  assert.deepEqual(reading.chosen(), ["3"]);
});

test("an earlier image comes with its answer, is sent only where that is changed, and then leads on", async (context) => {
  const reading = made(context, { rules: { back: true } });
  const { server, press, part, storage } = reading;
  await settled();
  await press("2", "c", "Enter");
  await press("ArrowLeft");
  assert.deepEqual(reading.chosen(), ["2", "cyst"]);
  await press("Enter");
  assert.equal(server.answers.length, 1);
  assert.equal(part("position").textContent, 2);
  await press("ArrowLeft");
  server.isAway = true;
  await press("3", "Enter");
  const [kept] = [...storage.items.values()].map((text) => JSON.parse(text));
  assert.deepEqual([kept.trial, kept.rating, kept.revises, kept.changes], ["t1", "3", true, 1]);
  assert.equal(part("position").textContent, 2);
});

test("an image is not answered before its picture is there, and the one before is not seen in its place", async (context) => {
  const reading = made(context, { ahead: 1 });
  const { desk, server, press, part, pictures } = reading;
  await settled();
  let come;
  server.holds.set("t2", new Promise((resolve) => { come = resolve; }));
  await press("5", "c", "Enter");
  assert.equal(desk.state, loading);
  assert.equal(pictures[0].style.visibility, "hidden");
  await press("2", "m", "Enter");
  assert.equal(server.answers.length, 1);
  assert.equal(part("said").textContent, "The image is not here yet.");
  come();
  await settled();
  assert.equal(desk.state, showing);
  assert.equal(pictures[0].style.visibility, "");
  assert.deepEqual(reading.chosen(), ["2", "metastasis"]); // keys count, and Enter when it is seen
  await press("Enter");
  assert.deepEqual(server.answers.map((one) => one.rating), ["5", "2"]);
});

test("who looks back finds the keys and the time of the image that is to be answered", async (context) => {
  const reading = made(context, { rules: { back: true } });
  const { server, press, time } = reading;
  await settled();
  await press("2", "c", "Enter");
  time.now += 40_000;
  await press("5");
  await press("ArrowLeft");
  time.now += 3_000;
  await press("ArrowRight");
  assert.deepEqual(reading.chosen(), ["5"]);
  time.now += 1_000;
  await press("m", "Enter");
  const { trial, rating, active_ms: active } = server.answers[1];
  assert.deepEqual([trial, rating, active], ["t2", "5", "41000"]);
});

test("who has answered meanwhile is not taken back to an earlier image", async (context) => {
  const { document, server, press, part } = made(context, { rules: { back: true } });
  await settled();
  await press("2", "c", "Enter");
  for (const key of ["ArrowLeft", "3", "m", "Enter"]) document.fire("keydown", { key });
  await settled();
  assert.equal(server.answers.length, 2);
  assert.equal(part("position").textContent, 3);
});

test("there is nothing before the first image nor after the one to answer", async (context) => {
  const { press, part } = made(context, { rules: { back: true } });
  await settled();
  for (const key of ["ArrowLeft", "ArrowRight"]) {
    await press(key);
    assert.equal(part("said").textContent, "There is no image to go to.");
  }
});

test("a window without room for images of a promised size takes no answer, and loses none", async (context) => {
  const reading = made(context);
  const { desk, server, press, part, radios, time } = reading;
  await settled();
  let hasRoom = true;
  Object.defineProperty(desk.view, "hasRoom", { get: () => hasRoom });
  time.now += 1_000;
  await press("5");
  hasRoom = false;
  await press("c", "Enter"); // before the browser has told of the other size
  assert.equal(desk.state, cramped);
  assert.equal(server.answers.length, 0);
  assert.equal(title(reading), "This window is too small");
  assert.match(part("said").textContent, /^This window is too small/);
  time.now += 5_000;
  await press("2", "Enter", "Backspace", "p");
  radios[0].checked = true;
  part("answers").fire("change", { target: radios[0] }); // by mouse
  assert.equal(part("said").textContent, "Not taken: no image is shown.");
  desk.roomChanged();
  assert.deepEqual(reading.chosen(), ["5", "cyst"]);
  assert.equal(desk.state, cramped);
  hasRoom = true;
  desk.roomChanged();
  assert.equal(desk.state, showing);
  assert.equal(title(reading), null);
  await press("Enter");
  const [{ rating, lesion_class: named, active_ms: active, idle_ms: idle }] = server.answers;
  assert.deepEqual([rating, named, active, idle], ["5", "cyst", "1000", "5000"]);
});

test("a picture that cannot be had does not cover the words of a refusal", async (context) => {
  const reading = made(context);
  const { desk, server, press } = reading;
  await settled();
  server.refuses.t1 = "It was answered before.";
  server.lacks.add("t2");
  desk.pictures.forget("t2");
  await press("2", "c", "Enter");
  assert.equal(desk.state, refused);
  assert.equal(title(reading), "An answer was not taken");
});

test("what is told of a practice image stands until it was read, and nothing is told after the practice", async (context) => {
  const reading = made(context, { practice: 1 });
  const { desk, server, press, window, part } = reading;
  await settled();
  assert.equal(part("block").textContent, "Practice");
  server.feedback = "It was real.";
  reading.document.fire("keydown", { key: "2" });
  reading.document.fire("keydown", { key: "c" });
  reading.document.fire("keydown", { key: "Enter" });
  assert.equal(desk.state, answered);
  await settled();
  assert.equal(desk.state, told);
  assert.match(part("cover-text").textContent, /^It was real\. The practice ends here/);
  window.fire("online");
  await press("3");
  assert.equal(desk.state, told);
  server.feedback = null;
  await press("Enter");
  assert.equal(desk.state, showing);
  await press("2", "c", "Enter");
  assert.equal(desk.state, showing);
  assert.equal(part("position").textContent, 2);
});

test("a break is offered after every so many images, and never after the last", async (context) => {
  const reading = made(context, { total: 4, rules: { break_every: 2 } });
  const { desk, press, part, went } = reading;
  await settled();
  await press("2", "c", "Enter");
  assert.equal(desk.state, showing);
  await press("2", "c", "Enter");
  assert.equal(desk.state, paused);
  assert.equal(title(reading), "Time for a break");
  assert.match(part("cover-text").textContent, /^2 images are read\. Rest your eyes\. Press P to go on/);
  await press("p", "2", "c", "Enter");
  reading.document.fire("keydown", { key: "2" });
  reading.document.fire("keydown", { key: "c" });
  reading.document.fire("keydown", { key: "Enter" });
  assert.equal(desk.state, finished);
  assert.deepEqual(went, []);
  await settled();
  assert.deepEqual(went, ["/readings/t"]);
});

test("answers of an earlier visit are sent before anything is shown", async (context) => {
  const storage = new Storage();
  storage.setItem("hepatica-desk:t:000000000000001:old", JSON.stringify({ trial: "t1", key: "old", rating: "2", reasons: [] }));
  const reading = made(context, { storage });
  assert.equal(reading.desk.state, waiting);
  assert.equal(title(reading), "Sending answers");
  await settled();
  assert.equal(reading.server.answers[0].key, "old");
  assert.equal(reading.part("position").textContent, 2);
  assert.equal(reading.desk.state, showing);
});

test("a page that is loaded again goes on with the keys and the time; time aside is not looking", async (context) => {
  const session = new Storage();
  const first = made(context, { session });
  await settled();
  first.time.now += 2_000;
  await first.press("5");
  first.desk.standAside();
  first.time.now += 30_000;
  await first.press("Enter");
  assert.deepEqual(first.went, ["reload"]);
  first.window.fire("pagehide");
  first.desk.stop();
  context.mock.restoreAll();
  const second = made(context, { session });
  await settled();
  assert.deepEqual(second.chosen(), ["5"]);
  await second.press("c", "Enter");
  assert.equal(second.server.answers[0].active_ms, "2000");
  assert.equal(second.server.answers[0].idle_ms, "30000");
});

test("a page that would lose an answer is not left without a word, nor for a server that is away", async (context) => {
  const { desk, press, window, storage, root, went, part, server } = made(context);
  await settled();
  assert.ok(!window.fire("beforeunload").defaultPrevented);
  storage.isFull = true;
  server.isAway = true;
  await press("2", "c", "Enter");
  assert.equal(desk.queue.unsafe, 1);
  assert.ok(window.fire("beforeunload").defaultPrevented);
  root.querySelector("[data-leave]").href = "/readings";
  root.querySelector("[data-leave]").fire("click");
  await settled();
  assert.deepEqual(went, []);
  assert.match(part("cover-text").textContent, /The server cannot be reached, so this page stays\. 1 answer is kept in this page/);
});

test("nothing is shown, fetched or listened to before start, nor after stop", async (context) => {
  const reading = made(context, { start: false });
  const { desk, window, document, timers, root, press, server } = reading;
  const listeners = () => window.listeners + document.listeners + ["answers", "go-on", "leave", "pause", "keys"]
    .reduce((sum, name) => sum + root.querySelector(`[data-${name}]`).listeners, 0);
  assert.equal(listeners(), 0);
  assert.equal(fetch.mock.callCount(), 0);
  desk.start();
  desk.start(); // twice is once
  await settled();
  const { trial } = { trial: reading.part("position").textContent };
  assert.ok(listeners() > 10);
  server.isAway = true;
  await press("2", "c", "Enter");
  assert.ok(timers.size > 0);
  desk.stop();
  assert.equal(listeners(), 0);
  assert.equal(timers.size, 0);
  assert.equal(Channel.open.size, 0);
  const calls = fetch.mock.callCount();
  await press("2", "c", "Enter");
  window.fire("online");
  await settled();
  assert.equal(fetch.mock.callCount(), calls);
  server.isAway = false;
  desk.start(); // what was kept is sent, and reading goes on
  await settled();
  assert.equal(server.answers.length, 1);
  assert.equal(desk.state, showing);
  assert.equal(reading.part("position").textContent, trial + 1);
  desk.stop();
});
