"""Preprocessing follows docs/bundle.md, and augmentation keeps shape and range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dorfman_training import augment, data, preprocess
from dorfman_training.config import Config


def saved(folder: Path, values: np.ndarray, **options: object) -> Path:
    path = folder / "image.png"
    Image.fromarray(values).save(path, **options)
    return path


def pixels(path: Path, settings: Config) -> np.ndarray:
    with Image.open(path) as image:
        return preprocess.pixels(image, settings.input)


def test_an_image_of_the_input_size_is_only_normalised(tmp_path: Path, settings: Config) -> None:
    grey = np.random.RandomState(0).randint(0, 256, (28, 28)).astype(np.uint8)
    wanted = data.normalise(torch.from_numpy(grey)[None], settings.input)
    assert torch.equal(preprocess.tensor(saved(tmp_path, grey), settings.input), wanted)


def test_alpha_is_composited_on_white_and_rounded(tmp_path: Path, settings: Config) -> None:
    random = np.random.RandomState(1)
    values = random.randint(0, 256, (28, 28, 4)).astype(np.uint8)
    values[0, 0] = (0, 0, 0, 0)
    colour, alpha = values[..., :3].astype(int), values[..., 3:].astype(int)
    mixed = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    grey = (mixed @ [19595, 38470, 7471] + 32768) >> 16
    found = pixels(saved(tmp_path, values), settings)
    assert found[0, 0] == 255
    assert np.array_equal(found, grey)


def test_sixteen_bits_become_the_high_byte(tmp_path: Path, settings: Config) -> None:
    values = (np.arange(28 * 28).reshape(28, 28) * 83).astype(np.uint16)
    assert np.array_equal(pixels(saved(tmp_path, values), settings), values >> 8)


def test_the_exif_orientation_is_applied(tmp_path: Path, settings: Config) -> None:
    grey = np.random.RandomState(2).randint(0, 256, (28, 28)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the image must be rotated by 90 degrees clockwise
    found = pixels(saved(tmp_path, grey, exif=exif.tobytes()), settings)
    assert np.array_equal(found, np.rot90(grey, -1))


def test_another_size_is_stretched(tmp_path: Path, settings: Config) -> None:
    wide = np.full((10, 300), 90, dtype=np.uint8)
    found = pixels(saved(tmp_path, wide), settings)
    assert found.shape == (28, 28) and (found == 90).all()


def test_shifting_moves_and_mirrors_but_changes_no_value() -> None:
    images = torch.zeros(200, 28, 28, dtype=torch.uint8)
    images[:, 10, 8] = 200
    moved = augment.shifted(images, 2, torch.Generator().manual_seed(0))
    assert (moved.reshape(200, -1).sum(dim=1) == 200).all()
    places = {tuple(place) for place in torch.nonzero(moved)[:, 1:].tolist()}
    assert {row for row, _ in places} == set(range(8, 13))
    assert {column for _, column in places} == set(range(6, 11)) | set(range(17, 22))


def test_erasing_covers_a_part_of_about_half_the_images() -> None:
    for shape in ((400, 28, 28), (400, 3, 20, 30)):
        plain = torch.full(shape, 77, dtype=torch.uint8)
        covered = augment.erased(plain, 0.6, torch.Generator().manual_seed(0))
        changed = (covered != 77).reshape(400, -1).float().mean(dim=1)
        assert covered.shape == plain.shape and covered.dtype == plain.dtype
        assert 0.4 < (changed > 0).float().mean() < 0.55 and changed.max() <= 0.6 * 0.6 + 0.07
        assert torch.equal(covered, augment.erased(plain, 0.6, torch.Generator().manual_seed(0)))


def test_zooming_and_tinting_keep_shape_and_range() -> None:
    images = torch.randint(0, 256, (6, 3, 20, 20), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    moved = augment.tinted(augment.zoomed(images, 0.6, torch.Generator().manual_seed(1)), 0.3, torch.Generator().manual_seed(2))
    assert moved.shape == images.shape and moved.min() >= 0 and moved.max() <= 255
    plain = torch.full((6, 3, 20, 20), 100, dtype=torch.uint8)
    assert torch.allclose(augment.zoomed(plain, 0.6, torch.Generator().manual_seed(1)), plain.float())
