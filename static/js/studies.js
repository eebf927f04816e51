// Which study a file belongs to, read in this browser from its first bytes; and what is in a zip.

const HEAD = 512 * 1024;

/**
 * The StudyInstanceUID (0020,000D) of a DICOM file, from its first bytes; "" where there is none.
 * It counts where the SeriesInstanceUID follows, as it does in the data set itself: inside a sequence
 * another study's may stand.
 */
export function studyUid(bytes) {
  for (let at = bytes.indexOf(0x20); at >= 0 && at + 16 < bytes.length; at = bytes.indexOf(0x20, at + 1)) {
    if (bytes[at + 1] !== 0 || bytes[at + 2] !== 0x0d || bytes[at + 3] !== 0) continue;
    const explicit = bytes[at + 4] === 0x55 && bytes[at + 5] === 0x49; // VR "UI"
    const length = explicit
      ? bytes[at + 6] + 256 * bytes[at + 7]
      : bytes[at + 4] + 256 * (bytes[at + 5] + 256 * (bytes[at + 6] + 256 * bytes[at + 7]));
    const end = at + 8 + length;
    if (length === 0 || length > 64 || end + 4 > bytes.length) continue;
    const follows = bytes[end] === 0x20 && bytes[end + 1] === 0 && bytes[end + 2] === 0x0e && bytes[end + 3] === 0;
    const text = String.fromCharCode(...bytes.subarray(at + 8, end)).replace(/[\0 ]+$/, "");
    if (follows && text) return text;
  }
  return "";
}

/** The StudyInstanceUID of a File or Blob; "" for pictures, or where it cannot be read. */
export async function studyOf(file) {
  try {
    return studyUid(new Uint8Array(await file.slice(0, HEAD).arrayBuffer()));
  } catch { return ""; }
}

/**
 * The files in a zip: name → a function that gives its content as a Blob. Null where this browser
 * cannot read it (ZIP64, encrypted, or no way to unpack).
 */
export async function filesInZip(zip) {
  try {
    const tail = new DataView(await zip.slice(Math.max(0, zip.size - 65_557)).arrayBuffer());
    let end = tail.byteLength - 22;
    while (end >= 0 && tail.getUint32(end, true) !== 0x06054b50) end -= 1;
    if (end < 0) return null;
    const [size, start] = [tail.getUint32(end + 12, true), tail.getUint32(end + 16, true)];
    const directory = new DataView(await zip.slice(start, start + size).arrayBuffer());
    const found = new Map();
    for (let at = 0; at + 46 <= directory.byteLength && directory.getUint32(at, true) === 0x02014b50;) {
      const [nameLength, extra, comment] = [28, 30, 32].map((place) => directory.getUint16(at + place, true));
      const bytes = new Uint8Array(directory.buffer, at + 46, nameLength);
      const utf8 = (directory.getUint16(at + 8, true) & 0x800) !== 0;
      const name = new TextDecoder(utf8 ? "utf-8" : "ibm866").decode(bytes);
      const entry = {
        method: directory.getUint16(at + 10, true),
        packed: directory.getUint32(at + 20, true),
        offset: directory.getUint32(at + 42, true),
        locked: (directory.getUint16(at + 8, true) & 1) !== 0,
      };
      if (entry.locked || ![0, 8].includes(entry.method) || entry.offset === 0xffffffff) return null;
      found.set(name, () => unpacked(zip, entry));
      at += 46 + nameLength + extra + comment;
    }
    return found.size > 0 && "DecompressionStream" in globalThis ? found : null;
  } catch { return null; }
}

async function unpacked(zip, { method, packed, offset }) {
  const head = new DataView(await zip.slice(offset, offset + 30).arrayBuffer());
  const start = offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const content = zip.slice(start, start + packed);
  if (method === 0) return content;
  return new Response(content.stream().pipeThrough(new DecompressionStream("deflate-raw"))).blob();
}
