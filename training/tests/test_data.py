"""Every kind of data source gives the same images, classes and files."""

from __future__ import annotations

import csv
import dataclasses
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dorfman_training import data, sample
from dorfman_training.config import Config, DataConfig, InputConfig

RGB = InputConfig(8, 8, "rgb", "bilinear", (127.0,) * 3, (128.0,) * 3)


def photo(seed: int) -> bytes:
    content = io.BytesIO()
    values = np.random.RandomState(seed).randint(0, 256, (9, 12, 3)).astype(np.uint8)
    Image.fromarray(values).save(content, "PNG")
    return content.getvalue()


def photos(settings: Config, kind: str) -> Config:
    source = DataConfig(kind, "nowhere", "photos", "CC0-1.0", ("hat",))
    return dataclasses.replace(settings, data=source, input=RGB)


@pytest.fixture(params=["zip", "csv"])
def source(request: pytest.FixtureRequest, tmp_path: Path, settings: Config) -> tuple[Config, Path]:
    entries = [("hat", "a.png", 1), ("shirt", "b.png", 2), ("shirt", "c.png", 3)]
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "test.zip", "w") as archive:
            for kind, name, seed in entries:
                archive.writestr(f"{kind}/{name}", photo(seed))
    else:
        with tarfile.open(tmp_path / "test.tar", "w") as archive:
            for _, name, seed in entries:
                entry = tarfile.TarInfo(f"test/{name}")
                entry.size = len(photo(seed))
                archive.addfile(entry, io.BytesIO(photo(seed)))
        rows = [("path", "class", "split", "source"), *((f"test/{name}", kind, "test", "here") for kind, name, _ in entries)]
        with open(tmp_path / "index.csv", "w", newline="") as table:
            csv.writer(table).writerows([*rows, ("train/z.png", "hat", "train", "here")])
    return photos(settings, request.param), tmp_path


def test_photos_are_loaded_resized_with_their_classes(source: tuple[Config, Path]) -> None:
    config, folder = source
    split = data.load(config, "test", folder)
    assert split.images.shape == (3, 3, 8, 8) and split.images.dtype == torch.uint8
    assert split.classes == ("hat", "shirt", "shirt") and split.positive.tolist() == [True, False, False]
    assert data.normalise(split.images, config.input).abs().max() <= 1


def test_files_are_written_unchanged_with_a_list_of_them(source: tuple[Config, Path], tmp_path: Path) -> None:
    config, folder = source
    assert data.write_images(config, "test", tmp_path / "out", folder) == 3
    assert (tmp_path / "out" / "hat" / "a.png").read_bytes() == photo(1)
    with open(tmp_path / "out" / "list.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["class"] for row in rows] == ["hat", "shirt", "shirt"]
    assert all((tmp_path / "out" / row["path"]).exists() for row in rows)


def test_an_unknown_class_is_refused(source: tuple[Config, Path]) -> None:
    config, folder = source
    wrong = dataclasses.replace(config, data=dataclasses.replace(config.data, positive=("boot",)))
    with pytest.raises(SystemExit, match="boot.*hat"):
        data.load(wrong, "test", folder)


def test_a_sample_has_all_positives_and_some_negatives_shrunk(source: tuple[Config, Path], tmp_path: Path) -> None:
    config, folder = source
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    assert [sample.write(config, "test", folder, path, negatives=1, side=6) for path in (first, second)] == [2, 2]
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        hat, shirt = archive.namelist()
        assert hat == "hat/a.jpg" and shirt in ("shirt/b.jpg", "shirt/c.jpg")
        with Image.open(io.BytesIO(archive.read(hat))) as photo:
            assert photo.size == (8, 6) and photo.format == "JPEG"
