"""The paintings that come with the package."""

import shutil

import pytest
import torch
from dl4cv.data import paintings


@pytest.mark.parametrize("name", paintings.PAINTINGS)
def test_every_painting_is_there_in_colour(name):
    picture = paintings.load(name)
    assert picture.shape[0] == 3
    assert 256 <= min(picture.shape[1:]) <= max(picture.shape[1:]) <= 512
    assert 0 <= picture.min() < 0.2
    assert 0.8 < picture.max() <= 1
    assert picture.flatten(1).std(1).min() > 0.1
    assert not torch.equal(picture[0], picture[2])


def test_the_files_are_those_that_are_described():
    assert {path.stem for path in paintings._FOLDER.iterdir()} == set(paintings.PAINTINGS)


def test_another_file_is_refused(tmp_path, monkeypatch):
    shutil.copy(paintings._FOLDER / "poppies.jpg", tmp_path / "auvers.jpg")
    monkeypatch.setattr(paintings, "_FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"auvers\.jpg has SHA-256 [0-9a-f]{64}, expected 78"):
        paintings.load("auvers")
    with pytest.raises(FileNotFoundError):
        paintings.load("poppies")


def test_an_unknown_painting_is_named():
    with pytest.raises(ValueError, match="name is 'guernica'; expected one of: starry_night"):
        paintings.load("guernica")
