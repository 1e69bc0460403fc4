// The fingerprint of a model file, as swarm/model_file.py and swarm/manifest.py compute it: safetensors, read tensor by
// tensor in the order of their names, cut into chunks of 2^20 numbers; the SHA-256 of the manifest is the model's hash.
// The file is read piece by piece and goes nowhere.

const CHUNK_ELEMENTS = 1 << 20;
const CHUNK_BYTES = 4 * CHUNK_ELEMENTS;
const MAX_HEADER_BYTES = 1 << 21;
const MAX_ELEMENTS = 2 ** 31;
const MAX_DIMENSIONS = 16;
const MAX_NAME = 256;
const MAX_MANIFEST_BYTES = 1 << 20;
const LENGTH_BYTES = 8;

export class NotAModel extends Error {}

// Give the hash of a File or Blob, 64 hex digits; throws NotAModel. `progress` hears how much of it was read, 0 to 1.
export async function modelHash(file, progress = () => {}) {
  const { tensors, start } = await readHeader(file);
  const digests = [];
  let chunk = new Uint8Array(CHUNK_BYTES), filled = 0, read = 0;
  const total = file.size - start;
  for (const tensor of tensors) {
    let [offset, end] = tensor.place;
    while (offset < end) {
      const piece = await bytes(file, start + offset, start + Math.min(end, offset + CHUNK_BYTES - filled));
      chunk.set(piece, filled);
      filled += piece.length; offset += piece.length; read += piece.length;
      if (filled === CHUNK_BYTES) {
        digests.push(await digestOf(chunk));
        chunk = new Uint8Array(CHUNK_BYTES); filled = 0;
      }
      progress(read / total);
    }
  }
  if (filled) digests.push(await digestOf(chunk.subarray(0, filled)));
  return sha256(encode(tensors, digests));
}

// The canonical manifest: sorted keys, no white space, ASCII (names of tensors are printable ASCII).
function encode(tensors, digests) {
  const text = JSON.stringify({
    chunk_elements: CHUNK_ELEMENTS,
    chunks: digests,
    dtype: "float32",
    kind: "model",
    scale_bits: 0,
    tensors: tensors.map(({ name, shape }) => [name, shape]),
    version: 1,
  });
  if (text.length > MAX_MANIFEST_BYTES) throw new NotAModel("it has too many tensors");
  return new TextEncoder().encode(text);
}

async function readHeader(file) {
  const first = await bytes(file, 0, Math.min(LENGTH_BYTES, file.size));
  const length = first.length < LENGTH_BYTES ? 0 : Number(new DataView(first.buffer).getBigUint64(0, true));
  if (!(length >= 2 && length <= Math.min(MAX_HEADER_BYTES, file.size - LENGTH_BYTES))) {
    throw new NotAModel("it doesn't begin as a safetensors file does");
  }
  const start = LENGTH_BYTES + length;
  const tensors = parseHeader(await bytes(file, LENGTH_BYTES, start));
  checkCoverage(tensors, file.size - start);
  tensors.sort((one, other) => (one.name < other.name ? -1 : 1));
  return { tensors, start };
}

function parseHeader(raw) {
  let text, record;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw);
    record = JSON.parse(text);
  } catch {
    throw new NotAModel("its header isn't one of safetensors");
  }
  if (!isObject(record)) throw new NotAModel("its header isn't one of safetensors");
  if (countNames(record) !== writtenNames(text)) throw new NotAModel("its header names something twice");
  if (/[-.eE]/.test(text.replace(/"(?:[^"\\]|\\.)*"/g, "").replace(/true|false/g, ""))) {
    throw new NotAModel("its header holds a number that isn't whole");
  }
  return Object.entries(record).filter(([name]) => name !== "__metadata__").map(([name, entry]) => readEntry(name, entry));
}

function readEntry(name, entry) {
  const keys = isObject(entry) ? Object.keys(entry).sort().join() : "";
  if (keys !== "data_offsets,dtype,shape" || entry.dtype !== "F32") {
    throw new NotAModel("it holds something else than float32 tensors");
  }
  if (!/^[ -~]+$/.test(name) || name.length > MAX_NAME) throw new NotAModel("a tensor's name isn't printable ASCII");
  const { shape, data_offsets: place } = entry;
  const isShape = Array.isArray(shape) && shape.length <= MAX_DIMENSIONS &&
    shape.every((size) => Number.isInteger(size) && size > 0 && size <= MAX_ELEMENTS);
  const isPlace = Array.isArray(place) && place.length === 2 && place.every(Number.isSafeInteger);
  const elements = isShape ? shape.reduce((product, size) => product * size, 1) : NaN;
  if (!isPlace || place[1] - place[0] !== 4 * elements) throw new NotAModel("a tensor has not as many bytes as its shape needs");
  return { name, shape, place };
}

function checkCoverage(tensors, size) {
  let reached = 0;
  for (const { place: [begin, end] } of [...tensors].sort((one, other) => one.place[0] - other.place[0] || one.place[1] - other.place[1])) {
    if (begin !== reached) throw new NotAModel("its tensors leave a gap, or overlap");
    reached = end;
  }
  if (reached !== size || size <= 0 || size > 4 * MAX_ELEMENTS) throw new NotAModel("it was cut short, or has too much data");
}

async function digestOf(chunk) {
  const words = new Uint32Array(chunk.buffer, 0, chunk.length / 4);
  for (const word of words) {
    if ((word & 0x7f800000) === 0x7f800000) throw new NotAModel("it holds a number that isn't finite");
  }
  return sha256(chunk);
}

async function sha256(data) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function bytes(file, begin, end) {
  return new Uint8Array(await file.slice(begin, end).arrayBuffer());
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// JSON.parse drops all but the last of several equal names: count those that are there, and those that were written.
function countNames(value) {
  if (Array.isArray(value)) return value.reduce((sum, one) => sum + countNames(one), 0);
  if (!isObject(value)) return 0;
  return Object.values(value).reduce((sum, one) => sum + 1 + countNames(one), 0);
}

function writtenNames(text) {
  return [...text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter((match) => match[1]).length;
}
