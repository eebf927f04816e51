import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";

import { filesInZip, studyOf, studyUid } from "../../static/js/studies.js";
import { answersFor, batches, isKnown, lacksOwnName, lacksPatient, withoutName } from "../../static/js/upload.js";

const file = (name, size = 1) => ({ name, size });

test("every file is in one batch, in its order, and no batch is too large or too many", () => {
  const files = Array.from({ length: 100 }, (_, at) => file(`${at}.dcm`, 1 + (at * 37) % 50));
  const made = batches(files, { maxFiles: 7, maxBytes: 100 });
  assert.deepEqual(made.flat(), files);
  for (const batch of made) {
    assert.ok(batch.length <= 7 && batch.length > 0);
    assert.ok(batch.reduce((sum, one) => sum + one.size, 0) <= 100);
  }
});

test("a file that is larger than a batch goes alone", () => {
  assert.deepEqual(batches([file("a", 5), file("b", 500), file("c", 5)], { maxBytes: 100 }).map((batch) => batch.length), [1, 1, 1]);
  assert.deepEqual(batches([]), []);
});

test("no two files of one name share a batch, because the server answers by name", () => {
  const made = batches([file("one/a.dcm"), file("two/a.dcm"), file("two/b.dcm")]);
  assert.deepEqual(made.map((batch) => batch.map((one) => one.name)), [["one/a.dcm"], ["two/a.dcm", "two/b.dcm"]]);
});

test("answers are matched to their own file or to the zip that held it, and to no namesake", () => {
  const answers = [{ file: "a.dcm" }, { file: "a.zip/x/1.dcm" }, { file: "aa.dcm" }, { file: "a.dcm.txt" }];
  assert.deepEqual(answersFor("folder/a.dcm", answers), [answers[0]]);
  assert.deepEqual(answersFor("a.zip", answers), [answers[1]]);
  assert.deepEqual(answersFor("b.dcm", answers), []);
});

test("reasons of several files share a line once their names are away", () => {
  assert.equal(withoutName("a.dcm: no pixels.", "a.dcm"), "no pixels.");
  assert.equal(withoutName("a.dcm has no pixels.", "a.dcm"), "The file has no pixels.");
  assert.equal(withoutName("No pixels in a.dcm.", "a.dcm"), "No pixels in a.dcm.");
  assert.ok(lacksPatient({ code: "no_patient" }));
  assert.ok(!lacksPatient({ code: "other" }));
});

test("only where our server said so, or the request was refused, is it certain what became of the files", () => {
  for (const [status, body] of [[200, { accepted: [] }], [422, {}], [413, {}], [503, { detail: "The database is busy." }]]) {
    assert.ok(isKnown(status, body), status);
  }
  for (const [status, body] of [[0, {}], [502, {}], [504, {}], [500, {}], [200, {}]]) assert.ok(!isKnown(status, body), status);
});

test("a pseudonym that is another patient's can be given anew, a study that is cannot", () => {
  assert.ok(lacksOwnName({ code: "pseudonym_taken" }));
  assert.ok(!lacksOwnName({ code: "other_patient" }));
});

const ascii = (text) => [...text].map((sign) => sign.charCodeAt(0));
const tag = (element, text) => [0x20, 0, element, 0, 0x55, 0x49, text.length, 0, ...ascii(text)];

test("the study of a file is the one that its series follows, not one in a sequence", () => {
  const bytes = Uint8Array.from([...tag(0x0d, "9.9.9\0"), 8, 0, 0, 0, ...tag(0x0d, "1.2.3\0"), ...tag(0x0e, "4.5.6\0")]);
  assert.equal(studyUid(bytes), "1.2.3");
});

test("a picture, an empty file and a cut one are of no study", async () => {
  const whole = [...tag(0x0d, "1.2.3\0"), ...tag(0x0e, "4")];
  for (const bytes of [[], ascii("PNG"), whole.slice(0, 14), [0x20, 0, 0x0d, 0, 0x55, 0x49, 255, 255, 0, 0]]) {
    assert.equal(studyUid(Uint8Array.from(bytes)), "");
  }
  assert.equal(await studyOf({ slice() { throw new Error("gone"); } }), "");
});

/** A zip of one file, stored or packed. */
function zip(name, content, { method = 8, flags = 0 } = {}) {
  const data = method === 8 ? deflateRawSync(content) : content;
  const named = Buffer.from(name);
  const head = Buffer.alloc(30);
  head.writeUInt32LE(0x04034b50, 0);
  head.writeUInt16LE(named.length, 26);
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(0x800 | flags, 8);
  entry.writeUInt16LE(method, 10);
  entry.writeUInt32LE(data.length, 20);
  entry.writeUInt16LE(named.length, 28);
  const start = head.length + named.length + data.length;
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt32LE(entry.length + named.length, 12);
  end.writeUInt32LE(start, 16);
  return new Blob([Buffer.concat([head, named, data, entry, named, end])]);
}

test("the files in a zip come out as they went in", async () => {
  for (const method of [0, 8]) {
    const found = await filesInZip(zip("földer/1.dcm", Buffer.from("content ".repeat(50)), { method }));
    assert.deepEqual([...found.keys()], ["földer/1.dcm"]);
    assert.equal(await (await found.get("földer/1.dcm")()).text(), "content ".repeat(50));
  }
});

test("a zip that is locked, packed otherwise, or none at all is not opened", async () => {
  assert.equal(await filesInZip(zip("1.dcm", Buffer.from("x"), { flags: 1 })), null);
  assert.equal(await filesInZip(zip("1.dcm", Buffer.from("x"), { method: 12 })), null);
  assert.equal(await filesInZip(new Blob(["no zip"])), null);
});
