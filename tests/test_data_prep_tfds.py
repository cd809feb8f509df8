"""TFDS datasets on disk give the same sets as the folders they were made from."""

import hashlib
import io
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from preparing import run, tree

from data_prep import splits
from data_prep.plan import Options
from data_prep.prepare import prepare
from dear_jax.data.manifest import read_manifest
from dear_jax.data.sources import open_photos


@pytest.fixture(scope="session")  # TFDS registers a name once a process.
def celeb_a_hq(tmp_path_factory):
    """The TFDS dataset celeb_a_hq with four images, and the images by name."""
    tfds = pytest.importorskip("tensorflow_datasets")
    rng, files = np.random.default_rng(0), {}
    for number in (min(splits.celebahq_test_numbers()), 7, 3, 29_999):
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(file, "PNG")
        files[f"imgHQ{number:05d}.png"] = file.getvalue()

    class CelebAHq(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("2.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(8, 8, 3), encoding_format="png"),
                "image/filename": tfds.features.Text(),
            }
            features = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for name, data in files.items():
                yield name, {"image": data, "image/filename": name}

    folder = tmp_path_factory.mktemp("tfds")
    CelebAHq(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder / "celeb_a_hq", files


def test_tfds_dataset_gives_the_same_set_as_the_folder(celeb_a_hq, tmp_path):
    dataset, files = celeb_a_hq
    (tmp_path / "folder").mkdir()
    for name, data in files.items():
        (tmp_path / "folder" / name).write_bytes(data)
    options = ["--incomplete", "--first", 0]
    run("celebahq", tmp_path / "folder", tmp_path / "a" / "set", *options)
    out = tmp_path / "b" / "set"
    assert run("celebahq", dataset, out, *options, "--tfds") == 0
    plain, packed = read_manifest(tmp_path / "a" / "set"), read_manifest(out)
    assert (plain.settings, plain.shards) == (packed.settings, packed.shards)
    assert {shard.path.split("/")[0] for shard in plain.shards} == {"train", "test"}


def test_tfds_dataset_is_read_in_several_processes(celeb_a_hq, tmp_path):
    one, two = (
        Options(per_shard=1, workers=n, tfds=True, incomplete=True, first=0)
        for n in (1, 2)
    )
    prepare("celebahq", celeb_a_hq[0], tmp_path / "a" / "set", one)
    prepare("celebahq", celeb_a_hq[0], tmp_path / "b" / "set", two)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_another_tfds_dataset_is_refused(celeb_a_hq, tmp_path, capsys):
    assert run("places365", celeb_a_hq[0], tmp_path / "out", "--tfds") == 2
    assert "celeb_a_hq, not places365_small" in capsys.readouterr().err
    assert run("celebahq", tmp_path, tmp_path / "out", "--tfds") == 2
    assert "holds no dataset_info.json" in capsys.readouterr().err


def test_missing_tensorflow_datasets_is_said_with_the_remedy(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "dataset_info.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert run("celebahq", tmp_path, tmp_path / "out", "--tfds") == 2
    assert "pip install 'tensorflow-datasets" in capsys.readouterr().err


@pytest.fixture(scope="module")
def places365(tmp_path_factory):
    """The TFDS dataset places365_small with the builder's features, six images."""
    builders = pytest.importorskip(
        "tensorflow_datasets.datasets.places365_small.places365_small_dataset_builder"
    )
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("importlib_resources")  # TFDS itself needs it for builders.
    rng, files = np.random.default_rng(0), {"train": {}, "validation": {}}
    for i in range(6):
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (256, 256, 3), np.uint8)
        Image.fromarray(pixels).save(file, "JPEG")
        split, name = "validation", f"val_256/Places365_val_{i:08d}.jpg"
        if i < 4:
            split, name = "train", f"data_256/a/airfield/{i:08d}.jpg"
        files[split][name] = file.getvalue()

    def archive(split):
        return [(name, io.BytesIO(data)) for name, data in files[split].items()]

    def generators(self, manager):
        return {split: self._generate_examples(split) for split in files}

    def examples(self, split):
        for name, image in archive(split):
            yield name, {"image": image, "label": 0, "filename": name}

    folder = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builders.Builder, "_split_generators", generators)
        patch.setattr(builders.Builder, "_generate_examples", examples)
        builder = builders.Builder(data_dir=folder, file_format="array_record")
        builder.download_and_prepare()
    assert tfds.builder_from_directory(
        next(folder.glob("places365_small/*/"))
    ).info.features.keys() == {"image", "label", "filename"}
    return folder / "places365_small", files


def test_places365_from_tfds_has_its_owners_splits(places365, tmp_path):
    dataset, files = places365
    out = tmp_path / "out"
    assert run("places365", dataset, out, "--tfds", "--incomplete") == 0
    for split, there in (("train", "train"), ("val", "validation")):
        photos = open_photos(str(out / split))
        names = [name.split("/", 1)[1] for name in files[there]]
        assert photos.names == names
        digests = [hashlib.sha256(d).hexdigest()[:16] for d in files[there].values()]
        assert [photos.digest(i) for i in range(len(photos))] == digests


def damaged(dataset, folder, name, change):
    """A copy of a dataset with one of its files changed."""
    shutil.copytree(dataset, folder)
    (path,) = folder.rglob(name)
    path.write_bytes(change(path.read_bytes()))
    return folder


@pytest.mark.parametrize(
    "name, change",
    [
        ("*train*", lambda data: data[: len(data) // 2]),
        ("*train*", lambda data: b""),
        ("*train*", lambda data: bytes(len(data))),
        ("dataset_info.json", lambda data: data[:100]),
        ("features.json", lambda data: data[:20]),
    ],
)
def test_damaged_tfds_dataset_is_refused_in_one_line(
    name, change, celeb_a_hq, tmp_path, capsys
):
    dataset = damaged(celeb_a_hq[0], tmp_path / "copy", name, change)
    options = ["--tfds", "--incomplete", "--first", 0]
    assert run("celebahq", dataset, tmp_path / "out", *options) == 2
    assert str(dataset) in capsys.readouterr().err.splitlines()[-1]


def test_tfds_dataset_in_another_format_is_refused_with_the_way_to_prepare_it(
    celeb_a_hq, tmp_path, capsys
):
    dataset = damaged(
        celeb_a_hq[0],
        tmp_path / "copy",
        "dataset_info.json",
        lambda data: data.replace(b'"array_record"', b'"tfrecord"'),
    )
    assert run("celebahq", dataset, tmp_path / "out", "--tfds") == 2
    message = capsys.readouterr().err
    assert all(word in message for word in ("celeb_a_hq", "NEW_FOLDER", "TensorFlow"))
