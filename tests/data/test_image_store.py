"""The image store: what is decoded, what is shared, and what happens when a build or a file goes wrong."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from damages import DAMAGES, zero_a_third
from leukobench.data import image_store
from leukobench.data.base import digest
from leukobench.data.families.image import ImageDataset, image_dataset
from leukobench.data.image_store import HEADER, build_store, decode_image, store_key
from leukobench.errors import FaultyDataError, LeukoBenchError, MissingDataError
from leukobench.integrity import verify


def make_dataset(
    folder: Path, n: int = 12, size: int = 40, twin: bool = False, seed: int = 0
) -> ImageDataset:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = []
    for i in range(n):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        if twin and i == n - 1:
            pixels = np.asarray(Image.open(paths[0]))
        paths.append(folder / f"{i}.bmp")
        Image.fromarray(pixels).save(paths[-1])
    contents = [digest(p.read_bytes()) for p in paths]
    return image_dataset("toy", paths, contents, [str(i) for i in range(n)], ["a"] * n, ["a", "b"])


def no_decoding(*_: object) -> None:
    raise AssertionError("an image was decoded although its store was complete")


def test_rows_hold_the_decoded_images_in_the_order_of_the_data_set(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "images")
    store = build_store(dataset, 40, tmp_path / "stores")
    assert store.array.shape == (12, 40, 40, 3)
    assert store.array.dtype == np.uint8
    for image, path in zip(store.array, dataset.paths):
        np.testing.assert_array_equal(image, np.asarray(Image.open(path)))
    assert verify(store.folder / HEADER) == []


def test_resizing_is_pillows_antialiased_bilinear(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "images", n=1)
    store = build_store(dataset, (20, 30), tmp_path / "stores")
    expected = Image.open(dataset.paths[0]).resize((30, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(store.array[0], np.asarray(expected))


def test_a_second_build_opens_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(tmp_path / "images")
    first = build_store(dataset, 16, tmp_path / "stores")
    monkeypatch.setattr(image_store, "decode_image", no_decoding)
    second = build_store(dataset, 16, tmp_path / "stores")
    assert first.key == second.key
    np.testing.assert_array_equal(second.array, first.array)


def test_size_resize_method_content_and_order_have_stores_of_their_own(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "images")
    other = make_dataset(tmp_path / "others", seed=1)
    keys = {
        build_store(dataset, 16, tmp_path).key,
        build_store(dataset, 17, tmp_path).key,
        build_store(dataset, 16, tmp_path, resize="nearest").key,
        build_store(dataset.take(range(11, -1, -1)), 16, tmp_path).key,
        build_store(other, 16, tmp_path).key,
    }
    assert len(keys) == 5


def test_identical_contents_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(tmp_path / "images", twin=True)
    decoded = []
    real = decode_image
    monkeypatch.setattr(image_store, "decode_image", lambda *a: (decoded.append(a[0]), real(*a))[1])
    store = build_store(dataset, 16, tmp_path / "stores")
    assert len(decoded) == 11
    np.testing.assert_array_equal(store.array[0], store.array[11])


def test_progress_counts_up_to_every_image(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    build_store(
        make_dataset(tmp_path / "images"), 16, tmp_path / "stores", lambda *a: seen.append(a)
    )
    assert seen[0] == ("decode", 0, 12)
    assert seen[-1] == ("decode", 12, 12)
    assert [s[1] for s in seen] == sorted(s[1] for s in seen)


def test_rows_are_gathered_into_a_given_buffer(tmp_path: Path) -> None:
    store = build_store(make_dataset(tmp_path / "images"), 16, tmp_path / "stores")
    buffer = np.empty((3, 16, 16, 3), np.uint8)
    assert store.read([4, 0, 4], out=buffer) is buffer
    np.testing.assert_array_equal(buffer, store.array[[4, 0, 4]])
    with pytest.raises(IndexError, match="12"):
        store.read([12])


@pytest.mark.parametrize("name", ["images.npy", HEADER])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_store_is_refused_told_and_built_again(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    dataset = make_dataset(tmp_path / "images")
    sound = build_store(dataset, 16, tmp_path / "stores")
    pixels = np.array(sound.array)
    damage(sound.folder / name)
    assert verify(sound.folder / HEADER) != []
    again = build_store(dataset, 16, tmp_path / "stores")
    np.testing.assert_array_equal(again.array, pixels)
    assert again.digest == sound.digest
    [message] = caplog.messages
    assert str(sound.folder / name) in message
    assert message.endswith("its images are decoded again")


def test_a_reader_keeps_the_damaged_store_that_it_has_mapped(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "images")
    store = build_store(dataset, 16, tmp_path / "stores")
    zero_a_third(store.folder / "images.npy")
    build_store(dataset, 16, tmp_path / "stores")
    assert store.array[11].any()
    assert len(list((tmp_path / "stores").glob(f"{store.key}.damaged-*/images.npy"))) == 1


def test_two_exchanged_stores_are_both_built_again(tmp_path: Path) -> None:
    datasets = [make_dataset(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    first, second = (build_store(d, 16, tmp_path / "stores") for d in datasets)
    pixels = [np.array(store.array) for store in (first, second)]
    first.folder.rename(tmp_path / "aside")
    second.folder.rename(first.folder)
    (tmp_path / "aside").rename(second.folder)
    for dataset, expected in zip(datasets, pixels):
        found = build_store(dataset, 16, tmp_path / "stores")
        np.testing.assert_array_equal(found.array, expected)


def test_a_store_of_an_earlier_version_without_digests_is_built_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = make_dataset(tmp_path / "images")
    header = build_store(dataset, 16, tmp_path / "stores").folder / HEADER
    header.write_text('{"format": 1, "dataset": "toy", "shape": [12, 16, 16, 3]}')
    build_store(dataset, 16, tmp_path / "stores")
    assert verify(header) == []
    assert "an earlier version wrote it" in caplog.text


def test_a_damaged_file_is_named_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(tmp_path / "images")
    whole = dataset.paths[7].read_bytes()
    dataset.paths[7].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FaultyDataError, match=r"7\.bmp is damaged.*data check"):
        build_store(dataset, 16, tmp_path / "stores")
    assert not (tmp_path / "stores" / store_key(dataset, 16)).exists()
    dataset.paths[7].write_bytes(whole)
    decoded = []
    real = decode_image
    monkeypatch.setattr(
        image_store, "decode_image", lambda *a: (decoded.append(a[0].name), real(*a))[1]
    )
    build_store(dataset, 16, tmp_path / "stores")
    assert decoded == ["7.bmp"]


def test_a_killed_build_is_continued(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "images", n=60)
    script = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from leukobench.data import image_store as s; from data.test_image_store import make_dataset;"
        "real = s.decode_image; s.decode_image = lambda *a: (time.sleep(0.02), real(*a))[1];"
        "s.build_store(make_dataset(Path(sys.argv[2]), n=60), 16, Path(sys.argv[3]),"
        " lambda w, done, n: print(done, flush=True), workers=1)"
    )
    tests = Path(__file__).resolve().parents[1]
    arguments = [
        sys.executable,
        "-c",
        script,
        str(tests),
        str(tmp_path / "images"),
        str(tmp_path / "stores"),
    ]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 10:
                process.send_signal(signal.SIGKILL)
                break
    assert not (tmp_path / "stores" / store_key(dataset, 16)).exists()
    first: list[int] = []
    store = build_store(dataset, 16, tmp_path / "stores", lambda what, done, n: first.append(done))
    assert 10 <= first[0] < 60
    assert verify(store.folder / HEADER) == []
    np.testing.assert_array_equal(store.array[0], decode_image(dataset.paths[0], 16))
    np.testing.assert_array_equal(store.array[59], decode_image(dataset.paths[59], 16))


def test_an_image_torn_by_a_loss_of_power_is_decoded_again(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "images")
    whole = dataset.paths[11].read_bytes()
    dataset.paths[11].write_bytes(b"")
    with pytest.raises(FaultyDataError, match="empty"):
        build_store(dataset, 16, tmp_path / "stores", workers=1)
    dataset.paths[11].write_bytes(whole)
    half = next((tmp_path / "stores").glob("*.partial/images.npy"))
    torn = np.load(half, mmap_mode="r+")
    torn[2] = 0
    torn.flush()
    store = build_store(dataset, 16, tmp_path / "stores")
    np.testing.assert_array_equal(store.array[2], decode_image(dataset.paths[2], 16))


def build_and_count(images: Path, stores: Path, queue: multiprocessing.Queue[int]) -> None:
    real, count = image_store.decode_image, 0

    def slow(*a: object) -> np.ndarray:
        nonlocal count
        count += 1
        time.sleep(0.01)
        return real(*a)  # type: ignore[arg-type]

    image_store.decode_image = slow  # type: ignore[assignment]
    paths = sorted(images.glob("*.bmp"))
    contents = [digest(p.read_bytes()) for p in paths]
    dataset = image_dataset(
        "toy", paths, contents, [p.stem for p in paths], ["a"] * len(paths), ["a", "b"]
    )
    build_store(dataset, 16, stores, workers=1)
    queue.put(count)


def test_two_processes_build_one_store_between_them(tmp_path: Path) -> None:
    make_dataset(tmp_path / "images", n=30)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [
        context.Process(
            target=build_and_count, args=(tmp_path / "images", tmp_path / "stores", queue)
        )
        for _ in range(2)
    ]
    for p in processes:
        p.start()
    counts = sorted(queue.get(timeout=60) for _ in processes)
    for p in processes:
        p.join()
    assert counts == [0, 30]


def test_a_full_disk_is_said_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    dataset = make_dataset(tmp_path / "images")
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(LeukoBenchError, match="no space left"):
        build_store(dataset, 16, tmp_path / "stores")
    assert [p.suffix for p in (tmp_path / "stores").iterdir()] in ([], [".lock"])


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "TIFF"), ("L", "PNG"), ("P", "PNG"), ("RGB", "JPEG"), ("1", "PNG")]
)
def test_every_usual_kind_of_image_becomes_rgb(mode: str, kind: str) -> None:
    image = Image.new("RGB", (8, 8), (120, 120, 120)).convert(mode)
    decoded = decode_image(encoded(image, kind), 8)
    assert decoded.shape == (8, 8, 3)
    np.testing.assert_array_equal(decoded, np.asarray(image.convert("RGB")))


def test_sixteen_bit_images_are_refused_instead_of_clipped() -> None:
    sixteen = Image.fromarray(np.full((8, 8), 40000, np.uint16))
    with pytest.raises(FaultyDataError, match="8 bits"):
        decode_image(encoded(sixteen, "TIFF"), 8)


def test_decompression_bombs_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("1", (9000, 9000)).save(bomb)
    with pytest.raises(FaultyDataError, match="more than the 64,000,000"):
        decode_image(bomb, 8)
    worse = tmp_path / "worse.bmp"
    header = bytearray(encoded(Image.new("RGB", (1, 1)), "BMP"))
    header[18:26] = (60000).to_bytes(4, "little") * 2
    worse.write_bytes(bytes(header))
    with pytest.raises(FaultyDataError, match="more than the 64,000,000"):
        decode_image(worse, 8)


def test_text_in_place_of_an_image_is_named(tmp_path: Path) -> None:
    file = tmp_path / "Im001_1.tif"
    file.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(FaultyDataError, match=r"Im001_1\.tif is not an image"):
        decode_image(file, 8)
    with pytest.raises(MissingDataError, match=r"absent\.tif: no such file"):
        decode_image(tmp_path / "absent.tif", 8)
