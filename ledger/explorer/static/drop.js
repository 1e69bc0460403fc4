// Drop a model file: its fingerprint is computed here, and the ledger is asked what it is.

import { modelHash, NotAModel } from "./model_file.js";

export function beginDrop() {
  const card = document.getElementById("drop");
  if (!card) return;
  const zone = card.querySelector(".zone"), input = card.querySelector("input"), out = document.getElementById("dropped");
  zone.hidden = false;
  input.addEventListener("change", () => input.files.length && look(input.files[0], out));
  for (const kind of ["dragenter", "dragover"]) {
    zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) look(event.dataTransfer.files[0], out);
  });
}

async function look(file, out) {
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.setAttribute("aria-label", "Reading the file");
  out.replaceChildren(bar);
  try {
    const hash = await modelHash(file, (part) => { bar.value = part; });
    out.replaceChildren(...(await found(hash)));
  } catch (error) {
    out.replaceChildren(paragraph(says(error, file.name), "warn"));
  }
}

function says(error, name) {
  if (error instanceof NotAModel) return `${name} is no model file: ${error.message}.`;
  if (!globalThis.crypto?.subtle) return "This browser computes fingerprints only on a secure connection (https, or this machine itself).";
  return `${name} could not be checked: ${error.message}`;
}

// The page of the hash, made on the server with everything escaped, without its frame.
async function found(hash) {
  const answer = await fetch(`/hashes/0x${hash}`);
  if (!answer.ok) throw new Error(`the ledger's service answered ${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return [...page.getElementById("found").children];
}

function paragraph(text, kind) {
  const made = document.createElement("p");
  made.className = kind;
  made.textContent = text;
  return made;
}
