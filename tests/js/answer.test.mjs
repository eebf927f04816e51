import assert from "node:assert/strict";
import { test } from "node:test";

import { Answer } from "../../static/js/desk/answer.js";
import { Begun } from "../../static/js/desk/begun.js";
import { Change, Display } from "../../static/js/desk/display.js";
import { DeskState } from "../../static/js/desk/states.js";
import { coverOf, Wait, whereAnswersAre } from "../../static/js/desk/words.js";
import { Storage } from "./page.mjs";

const made = () => new Answer({
  choices: { rating: ["1", "2", "3", "4", "5", "6"], lesion_class: ["cyst", "metastasis"] },
  reasons: ["edge", "noise", "texture"],
  reasonsFrom: 4,
});

test("an answer misses every question that was not answered", () => {
  const answer = made();
  assert.deepEqual(answer.missing, ["rating", "lesion_class"]);
  answer.choose("rating", "2");
  assert.deepEqual(answer.missing, ["lesion_class"]);
  answer.choose("lesion_class", "cyst");
  assert.deepEqual(answer.missing, []);
});

test("changing and taking back count as changes; choosing first or the same again does not", () => {
  const answer = made();
  assert.ok(answer.choose("rating", "2"));
  assert.ok(!answer.choose("rating", "2"));
  assert.equal(answer.changes, 0);
  answer.choose("rating", "5");
  assert.equal(answer.changes, 1);
  answer.undo();
  assert.equal(answer.changes, 2);
});

test("taking back goes backwards through the keys, across the questions, and no further", () => {
  const answer = made();
  answer.choose("rating", "2");
  answer.choose("lesion_class", "cyst");
  answer.choose("rating", "5");
  assert.ok(answer.undo());
  assert.deepEqual(answer.chosen, { rating: "2", lesion_class: "cyst" });
  assert.ok(answer.undo());
  assert.deepEqual(answer.chosen, { rating: "2", lesion_class: null });
  assert.ok(answer.undo());
  assert.ok(!answer.undo());
  assert.deepEqual(answer.missing, ["rating", "lesion_class"]);
});

test("a rating that is taken back takes with it the reasons that it alone allowed", () => {
  const answer = made();
  for (const value of ["2", "5"]) answer.choose("rating", value);
  answer.tick("texture");
  answer.undo();
  assert.deepEqual([answer.chosen.rating, answer.reasons], ["2", []]);
  answer.undo();
  answer.choose("rating", "5");
  answer.tick("edge");
  answer.choose("rating", "6");
  answer.undo();
  assert.deepEqual([answer.chosen.rating, answer.reasons], ["5", ["edge"]]);
});

test("reasons are for images called synthetic: none is taken for others, and a lower rating drops them", () => {
  const answer = made();
  assert.equal(answer.tick("edge"), null);
  answer.choose("rating", "3");
  assert.equal(answer.tick("edge"), null);
  answer.choose("rating", "4");
  assert.equal(answer.tick("texture"), true);
  assert.equal(answer.tick("edge"), true);
  assert.deepEqual(answer.reasons, ["edge", "texture"]); // in the order of the page
  assert.equal(answer.tick("edge"), false);
  assert.deepEqual(answer.reasons, ["texture"]);
  answer.choose("rating", "2");
  assert.deepEqual(answer.reasons, []);
});

test("an earlier answer is shown as it was, and is the same until something is changed", () => {
  const answer = made();
  const earlier = { rating: 5, lesion_class: "cyst", reasons: ["noise", "edge"].sort() };
  answer.begin(earlier);
  assert.deepEqual(answer.chosen, { rating: "5", lesion_class: "cyst" });
  assert.ok(answer.isSameAs(earlier));
  assert.ok(!answer.isBegun);
  answer.tick("texture");
  assert.ok(!answer.isSameAs(earlier));
});

test("the next image begins with nothing of the one before", () => {
  const answer = made();
  answer.choose("rating", "5");
  answer.tick("edge");
  answer.choose("rating", "6");
  answer.begin();
  assert.deepEqual(answer.chosen, { rating: null, lesion_class: null });
  assert.deepEqual([answer.reasons, answer.changes, answer.isBegun], [[], 0, false]);
});

test("a value that the page does not offer is not taken up", () => {
  const answer = made();
  answer.takeUp({ chosen: { rating: "9", lesion_class: "cyst" }, reasons: ["edge", "other"], changes: 3 });
  assert.deepEqual(answer.chosen, { rating: null, lesion_class: "cyst" });
  assert.deepEqual([answer.reasons, answer.changes], [["edge"], 3]);
});

test("brightness, contrast and zoom stay within their limits, and every change is counted", () => {
  const limits = [
    [Change.brighter, "brightness", 0.8], [Change.darker, "brightness", -0.8],
    [Change.harder, "contrast", 8], [Change.softer, "contrast", 0.25],
    [Change.larger, "zoom", 4], [Change.smaller, "zoom", 1],
  ];
  for (const [change, name, limit] of limits) {
    const display = new Display();
    for (let time = 0; time < 60; time += 1) display.change(change);
    assert.equal(display.values[name], limit, change);
    assert.equal(display.values[name === "zoom" ? "zoom_changes" : "window_changes"], 60);
  }
});

test("the picture as it was keeps count of the changes; another image does not", () => {
  const display = new Display();
  display.change(Change.brighter);
  display.change(Change.larger);
  display.change(Change.plain);
  assert.deepEqual(display.values, { brightness: 0, contrast: 1, window_changes: 2, zoom: 1, zoom_changes: 2 });
  display.reset();
  assert.deepEqual(display.values, { brightness: 0, contrast: 1, window_changes: 0, zoom: 1, zoom_changes: 0 });
  assert.throws(() => display.change("upside down"), /No change of the picture/);
});

test("what was begun is taken up once, and only by its own trial", () => {
  const storage = new Storage();
  const begun = new Begun("x", storage);
  begun.keep({ trial: "a", changes: 1 });
  assert.equal(begun.take("b"), null);
  begun.keep({ trial: "a", changes: 1 });
  assert.deepEqual(new Begun("x", storage).take("a"), { trial: "a", changes: 1 });
  assert.equal(begun.take("a"), null);
  storage.isFull = true;
  begun.keep({ trial: "a" }); // no room: it begins anew
  assert.equal(begun.take("a"), null);
  assert.equal(new Begun("x", null).take("a"), null);
});

test("it never says that every answer is stored while one is kept here", () => {
  assert.match(whereAnswersAre({ kept: 0, unsafe: 0 }), /Every answer so far is stored/);
  assert.match(whereAnswersAre({ kept: 0, unsafe: 0, aside: 1 }), /stored but one that was not taken/);
  assert.match(whereAnswersAre({ kept: 1, unsafe: 0 }), /^1 answer is kept in this browser/);
  assert.match(whereAnswersAre({ kept: 3, unsafe: 0 }), /^3 answers are kept in this browser/);
  assert.match(whereAnswersAre({ kept: 3, unsafe: 1 }), /no room for one: keep the page open/);
  for (const [kept, unsafe] of [[1, 0], [2, 1]]) {
    assert.doesNotMatch(whereAnswersAre({ kept, unsafe }), /stored/);
  }
});

test("every state but that of an image has a cover, and a refusal names the answer and those after it", () => {
  const facts = {
    wait: Wait.network, pause: { title: "Paused", words: "" }, pauseKey: "p", feedback: "It was real.",
    refusal: { answer: { rating: "2", lesion_class: "cyst" }, reason: "The study is closed." }, kept: 3, unsafe: 0,
  };
  const bare = [DeskState.empty, DeskState.loading, DeskState.showing];
  for (const state of Object.values(DeskState)) {
    const cover = coverOf(state, facts);
    assert.equal(cover === null, bare.includes(state), state);
    assert.ok(!cover || (cover[0] && cover[1]), state);
  }
  for (const wait of Object.values(Wait)) assert.ok(coverOf(DeskState.waiting, { ...facts, wait })[1]);
  const [, text] = coverOf(DeskState.refused, facts);
  assert.match(text, /^The study is closed\. Your answer \(rating 2, cyst\) is kept .* 2 later answers, not sent yet\./);
  assert.doesNotMatch(coverOf(DeskState.refused, { ...facts, kept: 1 })[1], /later/);
  const named = (answer) => /Your answer \((.*?)\)/.exec(coverOf(DeskState.refused, { ...facts, refusal: { ...facts.refusal, answer } })[1])[1];
  assert.equal(named({ choice: "left" }), "left");
  assert.equal(named({ grade_1: "4", grade_2: "1" }), "question 1: grade 4, question 2: grade 1");
  assert.equal(named({ lesion_class: "cyst", class_confidence: "5" }), "cyst, 5 of 5 sure of it");
  const room = { promised: "120", sidePx: 456, beside: 2, width: 884, height: 600 };
  assert.match(coverOf(DeskState.cramped, { ...facts, room })[1], /120 mm wide\. Here 2 images of 456 px .* room for 884 × 600 px.*F11/);
});
