"""The bundle's file: always the same, whole again when read, and harmless whoever made it."""

import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rlp
from audit_world import World
from forgery import head_of

from ledger.abi import keccak256
from ledger.audit.audit import ESSENTIAL, Conclusion, audit
from ledger.audit.bundle import file as file_module
from ledger.audit.bundle.content import Bundle
from ledger.audit.bundle.export import make_bundle
from ledger.audit.bundle.file import digest_of, open_bundle, write_bundle
from ledger.audit.proof.header import BFT_MIX, read_header
from ledger.audit.verdict import Outcome
from ledger.errors import BundleInvalid, BundleUnmakeable
from swarm.model_file import export_safetensors, model_hash


@pytest.fixture
def written(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "study.audit"
    write_bundle(bundle, path)
    return path


def test_what_is_read_is_what_was_written(bundle: Bundle, written: Path) -> None:
    with open_bundle(written) as again:
        assert (again.deployment, again.study, again.headers, again.bodies) == (
            bundle.deployment,
            bundle.study,
            bundle.headers,
            bundle.bodies,
        )
        assert dict(again.manifests) == dict(bundle.manifests)
        assert {one: again.read_chunk(one) for one in again.chunks} == {
            one: bundle.read_chunk(one) for one in bundle.chunks
        }
        assert digest_of(again) == digest_of(bundle)


def test_the_same_study_gives_the_same_bytes(world: World, bundle: Bundle, written: Path, tmp_path: Path) -> None:
    again = make_bundle(world.reader, world.study, [world.store], blobs=True)
    same = replace(again, headers=again.headers[: len(bundle.headers)])  # the devnet may have mined since
    write_bundle(same, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == written.read_bytes()


def test_an_honest_bundle_holds(bundle: Bundle, anchor: bytes, world: World) -> None:
    found = audit(bundle, anchor=anchor, model=world.view().final_output)
    assert found.conclusion is Conclusion.HOLDS
    assert found.with_outcome(Outcome.UNDECIDABLE) == ("fairness",)
    assert set(found.with_outcome(Outcome.HOLDS)) >= ESSENTIAL


def test_an_earlier_block_proves_nothing_of_what_came_after_it(bundle: Bundle) -> None:
    early = read_header(bundle.headers[20]).block.hash
    found = audit(bundle, anchor=early)
    assert found.conclusion is Conclusion.UNPROVEN
    assert "isn't proven" in found.named("anchor").why


def test_without_a_hash_from_elsewhere_nothing_is_proven(bundle: Bundle) -> None:
    found = audit(bundle, anchor=None)
    assert found.conclusion is Conclusion.UNPROVEN
    assert not found.broken


def test_without_blobs_it_says_what_can_not_be_decided(world: World, anchor: bytes, bundle: Bundle) -> None:
    bare = replace(bundle, manifests={}, chunks=frozenset())
    found = audit(bare, anchor=anchor)
    assert found.conclusion is Conclusion.HOLDS
    assert set(found.with_outcome(Outcome.UNDECIDABLE)) == {"merge", "exclusions", "copies", "fairness"}
    assert "retention" in found.named("merge").why


def test_a_model_file_is_told_from_any_other(bundle: Bundle, anchor: bytes, world: World, tmp_path: Path) -> None:
    final, path = world.view().last_final, tmp_path / "model.safetensors"
    export_safetensors(world.store, final, path)
    assert audit(bundle, anchor=anchor, model=model_hash(path)).conclusion is Conclusion.HOLDS
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    assert audit(bundle, anchor=anchor, model=model_hash(path)).broken == ("model",)
    earlier = world.view().output_of(2)
    assert "round 2" in audit(bundle, anchor=anchor, model=earlier).named("model").why


def test_a_study_that_is_not_there_makes_no_bundle(world: World) -> None:
    with pytest.raises(BundleUnmakeable, match="no study 7"):
        make_bundle(world.reader, 7, [])


# -- files that strangers made ---------------------------------------------------------------------------------------


def repacked(path: Path, change: Callable[[dict[str, bytes]], Any], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """A file with other entries than those that were written."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def with_index(entries: dict[str, bytes], **fields: Any) -> None:
    entries["bundle.json"] = json.dumps({**json.loads(entries["bundle.json"]), **fields}).encode()


def record(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


HOSTILE: dict[str, Callable[[dict[str, bytes]], Any]] = {
    "a path out of the folder": lambda entries: entries.update({"../evil": b""}),
    "an absolute path": lambda entries: entries.update({"/tmp/evil": b""}),
    "a name that is no hash": lambda entries: entries.update({"chunks/" + "z" * 64: b""}),
    "no index": lambda entries: entries.pop("bundle.json"),
    "no headers": lambda entries: entries.pop("headers"),
    "an index of brackets": lambda entries: entries.update({"bundle.json": b"[" * 60_000}),
    "an index that is too long": lambda entries: entries.update({"bundle.json": b" " * 70_000}),
    "another version": lambda entries: with_index(entries, version=2),
    "a negative study": lambda entries: with_index(entries, study=-1),
    "a study of another kind": lambda entries: with_index(entries, study="1"),
    "another number of headers": lambda entries: with_index(entries, headers=10**12),
    "no deployment": lambda entries: with_index(entries, deployment=None),
    "a record that is cut": lambda entries: entries.update(headers=entries["headers"][:-1]),
    "a record that claims four gigabytes": lambda entries: entries.update(headers=b"\xff\xff\xff\xff" + b"x" * 100),
    "a header that is no list": lambda entries: entries.update(bodies=record(b"\x80")),
    "bodies of nested lists": lambda entries: entries.update(bodies=record(b"\xc1" * 5000 + b"\xc0")),
    "a bomb of headers": lambda entries: entries.update(headers=record(bytes(1 << 16)) * 100),
    "a manifest that is too long": lambda entries: entries.update({"manifests/" + "0" * 64: b" " * (1 << 21)}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused(what: str, written: Path) -> None:
    path = repacked(written, HOSTILE[what])
    with pytest.raises(BundleInvalid), open_bundle(path) as bundle:
        audit(bundle, anchor=None)
    assert not Path("/tmp/evil").exists()


def test_a_bomb_is_not_unpacked(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "MAX_SECTION_BYTES", 1 << 20)
    path = repacked(written, lambda entries: entries.update(headers=record(bytes(1 << 15)) * 1000))
    assert path.stat().st_size < 1 << 19
    with pytest.raises(BundleInvalid, match="longer"), open_bundle(path):
        pass


def test_a_chunk_larger_than_any_is_a_finding_and_not_read(written: Path, anchor: bytes) -> None:
    name = "chunks/" + "0" * 64
    path = repacked(written, lambda entries: entries.update({name: bytes((8 << 20) + 1)}))
    with open_bundle(path) as bundle:
        found = audit(bundle, anchor=anchor)
    assert found.broken == ("files",)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip" * 100])
def test_a_file_that_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BundleInvalid), open_bundle(path):
        pass


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid, match="No such file"), open_bundle(tmp_path / "none"):
        pass


def test_one_name_twice_is_refused(written: Path) -> None:
    with zipfile.ZipFile(written, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("bundle.json", b"{}")
    with pytest.raises(BundleInvalid, match="one name"), open_bundle(written):
        pass


@pytest.mark.parametrize("at", range(0, 3000, 97))
def test_a_file_with_a_changed_byte_is_refused_or_found_broken(
    at: int, written: Path, bundle: Bundle, anchor: bytes
) -> None:
    content = bytearray(written.read_bytes())
    content[at] ^= 0x40
    written.write_bytes(content)
    honest = digest_of(bundle)
    try:
        with open_bundle(written) as read:
            same = digest_of(read) == honest
            assert audit(read, anchor=anchor).conclusion is (Conclusion.HOLDS if same else Conclusion.BROKEN)
    except BundleInvalid:
        pass


# -- headers of a consortium's own chain -----------------------------------------------------------------------------


def qbft(bundle: Bundle, round_number: int, seals: list[bytes]) -> bytes:
    fields = rlp.decode(bundle.headers[5])
    extra = [
        bytes(32),
        [b"\x11" * 20, b"\x22" * 20],
        [],
        round_number.to_bytes(1, "big") if round_number else b"",
        seals,
    ]
    fields[12], fields[13] = rlp.encode(extra), BFT_MIX
    return rlp.encode(fields)


def test_a_qbft_header_has_one_hash_whoever_sealed_it_in_whatever_round(bundle: Bundle) -> None:
    """As Besu hashes its blocks: with round 0 and without the validators' seals."""
    first, second = qbft(bundle, 0, []), qbft(bundle, 3, [b"\x33" * 65, b"\x44" * 65])
    assert read_header(first).block.hash == keccak256(first)
    assert read_header(second).block.hash == keccak256(first)


def test_the_head_is_the_last_header(bundle: Bundle) -> None:
    assert head_of(bundle) == read_header(bundle.headers[-1]).block.hash
