"""A model's fingerprint is the same whoever computes it: the Python program, or the explorer's script."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from model_vectors import VECTORS, entry, files, header_of

from ledger.explorer.rendering import FOLDER
from swarm.errors import BlobInvalid
from swarm.manifest import CHUNK_ELEMENTS
from swarm.model_file import model_hash

SCRIPT = """
import { readFile } from "node:fs/promises";
const { modelHash, NotAModel } = await import(process.argv[2]);
const answers = {};
for (const path of JSON.parse(await readFile(process.argv[3], "utf-8"))) {
  try {
    answers[path] = await modelHash(new Blob([await readFile(path)]));
  } catch (error) {
    if (!(error instanceof NotAModel)) throw error;
    answers[path] = null;
  }
}
console.log(JSON.stringify(answers));
"""


def python_hash(path: Path) -> str | None:
    try:
        return model_hash(path).hex()
    except BlobInvalid:
        return None


def script_hashes(folder: Path, paths: list[Path]) -> dict[str, str | None]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js here to run the explorer's script")
    (folder / "run.mjs").write_text(SCRIPT)
    (folder / "model_file.mjs").write_bytes((FOLDER / "static" / "model_file.js").read_bytes())
    (folder / "paths.json").write_text(json.dumps(list(map(str, paths))))
    command = [node, str(folder / "run.mjs"), str(folder / "model_file.mjs"), str(folder / "paths.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def written(folder: Path) -> dict[str, Path]:
    paths = {}
    for number, one in enumerate(json.loads(VECTORS.read_text())):
        paths[one["name"]] = folder / f"{number}.safetensors"
        paths[one["name"]].write_bytes(base64.b64decode(one["file"]))
    return paths


def expected() -> dict[str, str | None]:
    return {one["name"]: one["hash"] for one in json.loads(VECTORS.read_text())}


def test_the_vectors_are_the_files_that_they_say() -> None:
    kept = {one["name"]: base64.b64decode(one["file"]) for one in json.loads(VECTORS.read_text())}
    assert kept == files()
    assert sum(digest is not None for digest in expected().values()) == 10


def test_python_gives_the_hashes_on_record(tmp_path: Path) -> None:
    assert {name: python_hash(path) for name, path in written(tmp_path).items()} == expected()


def test_the_explorer_s_script_gives_the_hashes_on_record(tmp_path: Path) -> None:
    paths = written(tmp_path)
    answers = script_hashes(tmp_path, list(paths.values()))
    assert {name: answers[str(path)] for name, path in paths.items()} == expected()


def test_both_cut_a_large_model_into_the_same_chunks(tmp_path: Path) -> None:
    """Two tensors of which the second one begins in the middle of a chunk and ends in the third."""
    first, second = CHUNK_ELEMENTS - 5, CHUNK_ELEMENTS + 17
    sizes = {"a": entry(4 * second, 4 * (first + second), first), "b": entry(0, 4 * second, second)}
    values = np.random.default_rng(1).standard_normal(first + second, np.float32)
    path = tmp_path / "large.safetensors"
    path.write_bytes(header_of(sizes) + values.tobytes())
    assert script_hashes(tmp_path, [path]) == {str(path): python_hash(path)}
    assert python_hash(path) is not None
