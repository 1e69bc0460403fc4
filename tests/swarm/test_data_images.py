"""Folders of images: how they are decoded, and what hostile files and folders do."""

import contextlib
import os
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_samples import image_spec, tiny_spec
from PIL import Image

from swarm.data import load
from swarm.data.images import read_images
from swarm.data.misfits import Fault, Kind, Refusal, Tally
from swarm.data.pixels import read_image
from swarm.errors import DataError

CLASSES = ("p", "q", "r")
FORMATS = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "tiff": "TIFF"}


def gray_spec(**data):
    return image_spec(data={"features": [], "shape": [1, 8, 8], "classes": list(CLASSES), **data})


def picture(value=100, size=(8, 8), mode="L"):
    return Image.new(mode, size, value)


def encoded(image, kind="PNG", **options):
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Four images of each class, each of one gray value: 10 * class + number."""
    for index, name in enumerate(CLASSES):
        (tmp_path / "scans" / name).mkdir(parents=True)
        for number in range(4):
            picture(10 * index + number).save(tmp_path / "scans" / name / f"{number}.png")
    return tmp_path / "scans"


def source(folder, **fields):
    return {"source": "images", "path": str(folder), "test_fraction": 0.0, **fields}


def refusal(folder, spec=None, **fields):
    with pytest.raises(DataError) as caught:
        load(source(folder, **fields), spec or gray_spec())
    return str(caught.value).replace(str(folder), "scans")


def test_sub_folders_name_the_classes_and_files_come_by_name(folder):
    data = load(source(folder), gray_spec())
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    expected = np.array([0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23], np.float32) / np.float32(255)
    assert data.train.features.shape == (12, 64)
    np.testing.assert_array_equal(data.train.features, np.repeat(expected[:, None], 64, axis=1))
    assert (data.train.features.min(), data.train.names) == (0, ())


def test_images_are_divided_among_rehearsing_sites(folder):
    sites = [load(source(folder, shard=0, shards=1, test_fraction=fraction), gray_spec()) for fraction in (0, 0.5)]
    assert [(len(site.train), len(site.test)) for site in sites] == [(12, 0), (6, 6)]


def test_an_index_gives_the_labels_whatever_its_order(folder):
    lines = [f"{name}/{number}.png,{name}" for name in reversed(CLASSES) for number in range(4)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *lines]))
    by_index, by_folder = load(source(folder, index="labels.csv"), gray_spec()), load(source(folder), gray_spec())
    np.testing.assert_array_equal(by_index.train.features, by_folder.train.features)
    np.testing.assert_array_equal(by_index.train.labels, by_folder.train.labels)


def test_a_regression_takes_an_index_of_numbers(folder):
    spec = tiny_spec(
        study={"task": "regression"},
        data={"features": [], "shape": [1, 8, 8], "classes": []},
    )
    assert "give an index" in refusal(folder, spec)
    (folder / "ages.csv").write_text("file,label,note\np/0.png,40.5,x\np/1.png,60,y\n")
    data = load(source(folder, index="ages.csv"), spec)
    assert data.train.labels.tolist() == [40.5, 60.0]


def test_hidden_and_loose_files_are_remarked_on_and_not_read(folder):
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "p" / ".thumbs").write_bytes(b"x")
    (folder / "README.txt").write_text("x")
    tally = Tally()
    assert len(read_images(folder, None, gray_spec().data, tally)) == 12
    (remark,) = tally.remarks
    assert remark.endswith("are not read: '.DS_Store', 'README.txt', '.thumbs'")
    assert tally.misfits == ()


# -- decoding


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_is_read_as_gray_and_as_colours(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    picture((255, 0, 0), mode="RGB").save(path)
    colours, gray = read_image(path, 3, 4, 2), read_image(path, 1, 4, 2)
    assert (colours.shape, gray.shape, gray.dtype) == ((3, 4, 2), (1, 4, 2), np.float32)
    np.testing.assert_allclose(colours[:, 0, 0], [1, 0, 0], atol=0.01)
    np.testing.assert_allclose(gray, 0.299, atol=0.01)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_plain_kind_of_pixel_is_black_at_zero_and_white_at_one(tmp_path, mode):
    path = tmp_path / "x.tiff"
    for value, expected in ((0, 0), (255, 1)):
        picture(value).convert(mode).save(path)
        assert np.unique(read_image(path, 3, 4, 4)).tolist() == [expected]


def test_sixteen_bits_are_not_cut_to_eight(tmp_path):
    values = np.array([[0, 300], [30000, 65535]], np.uint16)
    for ending in ("png", "tiff"):
        Image.fromarray(values).save(tmp_path / f"x.{ending}")
        found = read_image(tmp_path / f"x.{ending}", 3, 2, 2)
        np.testing.assert_allclose(found[1], values / 65535, atol=1e-6)


def test_an_image_is_stretched_to_the_study_by_averaging(tmp_path):
    checks = np.indices((16, 32)).sum(axis=0) % 2 * 255
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "x.png")
    found = read_image(tmp_path / "x.png", 1, 4, 4)
    assert found.shape == (1, 4, 4)
    np.testing.assert_allclose(found, 0.5, atol=0.03)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
def test_any_image_becomes_the_studys_shape_in_0_to_1(tmp_path_factory, width, height, rows, columns, channels):
    path = tmp_path_factory.getbasetemp() / "any.png"
    draw = np.random.default_rng(width * 10 + height)
    Image.fromarray(draw.integers(0, 256, (height, width), dtype=np.uint8)).save(path)
    found = read_image(path, channels, rows, columns)
    assert found.shape == (channels, rows, columns)
    assert 0 <= found.min() <= found.max() <= 1
    np.testing.assert_array_equal(found, read_image(path, channels, rows, columns))


# -- hostile and damaged files


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width, height):
    """A few bytes that declare an image of any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def frames(kind):
    return encoded(picture(), kind, save_all=True, append_images=[picture(1), picture(2)])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "it is not a PNG, JPEG, BMP or TIFF image"),
        (b"%PDF-1.7 scanned", "it is not a PNG, JPEG, BMP or TIFF image"),
        (frames("GIF"), "it is not a PNG, JPEG, BMP or TIFF image"),
        (frames("TIFF"), "it has several frames; give one image a file"),
        (png_bomb(9000, 9000), "it has 9000 x 9000 pixels; at most 67108864 are decoded"),
        (png_bomb(50_000, 50_000), "it has more than 67108864 pixels"),
        (encoded(picture(size=(64, 64)), "JPEG")[:-200], "it is truncated or damaged"),
        (encoded(picture(size=(64, 64)))[:60], "it is truncated or damaged"),
        (encoded(picture(size=(64, 64)), "TIFF")[:60], "it is not a PNG, JPEG, BMP or TIFF image"),
        (encoded(picture(0.5, mode="F"), "TIFF"), "its pixels are of the type F, whose range isn't known"),
        (encoded(picture(7, mode="I"), "TIFF"), "its pixels are of the type I, whose range isn't known"),
    ],
)
def test_what_is_no_sound_image_is_refused_by_name(folder, content, fault):
    (folder / "q" / "2.png").write_bytes(content)
    assert refusal(folder).startswith(f"scans, file 'q/2.png': {fault}")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
@settings(max_examples=60, derandomize=True)
@given(
    flips=st.lists(st.tuples(st.integers(0, 2**30), st.integers(1, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 300),
)
def test_a_damaged_image_is_decoded_or_refused_and_nothing_else(tmp_path_factory, kind, flips, cut):
    path = tmp_path_factory.getbasetemp() / f"damaged-{kind}"
    data = bytearray(encoded(picture((9, 99, 200), (12, 10), "RGB"), kind))
    for place, flip in flips:
        data[place % min(len(data), 200)] ^= flip
    path.write_bytes(data[: max(len(data) - cut, 0)] if cut > 150 else data)
    found = read_image(path, 1, 4, 4)
    if isinstance(found, Fault):
        assert found.kind is Kind.BAD_FILE
    else:
        assert 0 <= found.min() <= found.max() <= 1


def test_an_oversized_file_is_refused_before_it_is_decoded(folder, monkeypatch):
    monkeypatch.setattr("swarm.data.pixels.MAX_IMAGE_BYTES", 50)
    assert refusal(folder) == "scans, file 'p/0.png': it has more than 50 bytes"


def test_too_many_images_are_refused_before_any_is_opened(folder, monkeypatch):
    monkeypatch.setattr("swarm.data.images.read_image", None)
    monkeypatch.setattr("swarm.data.images.MAX_ENTRIES", 5)
    assert refusal(folder) == "scans has more than 5 images"
    (folder / "labels.csv").write_text("\n".join(["file,label", *[f"p/{n}.png,p" for n in range(6)]]))
    assert refusal(folder, index="labels.csv") == "scans/labels.csv lists more than 5 images"
    monkeypatch.setattr("swarm.data.images.MAX_ENTRIES", 3)
    assert "has more than 3 files" in refusal(folder)


# -- what leaves the folder


def test_links_are_refused_wherever_they_point(folder, tmp_path):
    (folder / "p" / "0.png").unlink()
    (folder / "p" / "0.png").symlink_to(folder / "p" / "1.png")
    assert refusal(folder) == "scans, file 'p/0.png': it is a link; put the file itself into the folder"
    (folder / "p" / "0.png").unlink()
    (tmp_path / "elsewhere").mkdir()
    for name in os.listdir(folder / "r"):
        (folder / "r" / name).rename(tmp_path / "elsewhere" / name)
    (folder / "r").rmdir()
    (folder / "r").symlink_to(tmp_path / "elsewhere")
    assert refusal(folder) == "scans: the folder 'r' is a link; put the folder itself there"
    (folder / "labels.csv").write_text("file,label\nr/0.png,r\n")
    assert "file 'r/0.png': it is a link" in refusal(folder, index="labels.csv")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../secret.png", "it is not a path within the folder"),
        ("p/../../secret.png", "it is not a path within the folder"),
        ("/etc/hostname", "it is not a path within the folder"),
        ("", "it is not a path within the folder"),
        ("p/\0.png", "it is not a path within the folder"),
        ("p/9.png", "it doesn't exist"),
        ("p", "it is no plain file"),
        ("p/pipe", "it is no plain file"),
        ("x" * 5000, "it can't be opened"),
    ],
)
def test_an_index_that_names_no_file_of_the_folder_is_refused(folder, tmp_path, name, fault):
    picture().save(tmp_path / "secret.png")
    os.mkfifo(folder / "p" / "pipe")
    (folder / "labels.csv").write_text(f'file,label\n"{name}",p\nq/0.png,q\n')
    assert f"{name[:60]!r}"[:-1] in refusal(folder, index="labels.csv")
    assert fault in refusal(folder, index="labels.csv")


def test_a_file_within_a_folder_of_a_class_must_be_an_image(folder):
    (folder / "p" / "more").mkdir()
    assert refusal(folder) == "scans, file 'p/more': it is no plain file"


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["p/0.png,p", "p//0.png,q"], "row 3, column 'file': 'p//0.png' is listed twice"),
        (["p/0.png,maybe"], "row 2, column 'label': 'maybe' is not one of the classes p, q, r"),
        (["p/0.png,"], "row 2, column 'label': the label is missing"),
        (["p/0.png"], "row 2: 1 values where the header has 2"),
        ([], "scans holds no images"),
    ],
)
def test_an_index_that_does_not_fit_is_refused_with_row_and_column(folder, lines, fault):
    (folder / "labels.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    assert fault in refusal(folder, index="labels.csv")


def test_what_is_no_index_is_refused(folder):
    (folder / "labels.csv").write_text("name,label\nx,p\n")
    assert "these columns are missing: 'file'" in refusal(folder, index="labels.csv")
    (folder / "labels.csv").write_bytes(b"file,label\n\xff,p\n")
    assert "labels.csv is not a CSV file in UTF-8" in refusal(folder, index="labels.csv")
    (folder / "labels.csv").write_bytes(b"")
    assert "labels.csv is empty" in refusal(folder, index="labels.csv")
    assert "can't read scans/none.csv" in refusal(folder, index="none.csv")


def test_a_folder_that_does_not_fit_is_refused(folder, tmp_path):
    (folder / "benign").mkdir()
    assert refusal(folder) == "scans: the folder 'benign' is not named for one of the classes p, q, r"
    assert refusal(folder, tiny_spec()).endswith("the shape (1 or 3, height, width); this one has named features")
    assert refusal(folder, image_spec()).endswith("this one has the shape (2, 8, 8)")
    assert "more than 268435456 values" in refusal(folder, gray_spec(shape=[1, 1 << 24, 1 << 24]))
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refusal(tmp_path / "empty")
    assert "can't read" in refusal(tmp_path / "nothing")
    assert "can't read" in refusal(folder / "p" / "0.png")


def test_a_check_goes_on_after_a_bad_image_and_a_refusal_does_not(folder):
    for name in ("p/1.png", "r/3.png"):
        (folder / name).write_bytes(b"no image")
    tally = Tally()
    records = read_images(folder, None, gray_spec().data, tally)
    (misfit,) = tally.misfits
    assert (misfit.count, misfit.places) == (2, ("p/1.png", "r/3.png"))
    assert np.isnan(records.features).all(axis=1).sum() == 2
    with pytest.raises(DataError, match=r"p/1\.png"):
        read_images(folder, None, gray_spec().data, Refusal())


def test_a_name_cannot_act_on_the_terminal(folder):
    with contextlib.suppress(OSError):
        (folder / "p" / "\x1b[2J.png").write_bytes(b"no image")
        assert refusal(folder).isprintable()
