"""The data module: who is trained on, validated on and tested on; equal batches however they are loaded."""

import logging
import shutil
from functools import partial
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from miniatures import save_image, wflw_line, write_wflw_list
from torch.utils.data import DataLoader

from awing.arrays import Batch
from awing.data.augment import Augmentation
from awing.data.datamodule import LandmarkDataModule
from awing.data.loading import LoaderSettings
from awing.data.readers import read_wflw
from awing.data.records import Annotations, Record
from awing.errors import ConfigError, DataError

TRAIN, TEST = [1, 3, 1, 2, 1, 1, 4, 1, 1, 2, 1, 1, 1, 2, 1, 1], [1, 2, 1]  # faces in each image
COUNTS = {"train": sum(TRAIN), "test": sum(TEST)}
SUBSETS = ["pose", "blur"]
# from Python 3.12 on forking warns where a thread runs
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def write_faces(root: Path, split: str, faces: list[int]) -> None:
    """Noise with random landmarks in random boxes, in WFLW's layout."""
    rng, lines = np.random.default_rng(len(split)), []
    for i, count in enumerate(faces):
        name = f"{i % 3}--Event {i % 3}/{split}_{i}.jpg"
        save_image(root / "WFLW_images" / name, rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
        for _ in range(count):
            corner, side = rng.integers(0, 40, 2), rng.integers(30, 50, 2)
            points = rng.uniform(corner, corner + side, (98, 2))
            flags = rng.integers(0, 2, 6).tolist()
            lines.append(wflw_line(points, [*corner, *(corner + side)], flags, name))
    write_wflw_list(root, split, "\n".join(lines))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A complete small set in which some images hold several faces."""
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder, "train", TRAIN)
    write_faces(folder, "test", TEST)
    return folder


@pytest.fixture
def without_test(root, tmp_path) -> Path:
    """The same set without its test list."""
    shutil.copytree(root, tmp_path / "faces")
    next((tmp_path / "faces").rglob("*_test.txt")).unlink()
    return tmp_path / "faces"


def module(root: Path, reader=partial(read_wflw, expected=COUNTS), **kwargs) -> LandmarkDataModule:  # noqa: B008
    """The data module of these faces; ``kwargs`` are its arguments or those of its loader."""
    settings = {"input_size": 64, "batch_size": 4}
    settings |= {name: kwargs.pop(name) for name in [*kwargs] if name in LoaderSettings.__dataclass_fields__}
    usual = {
        "name": "faces", "scheme": "wflw98", "crop": "provided", "crop_scale": {"provided": 1.1, "landmarks": 1.25},
        "normalisers": ["inter_ocular", "box"], "subsets": SUBSETS,
    }  # fmt: skip
    return LandmarkDataModule(root=str(root), reader=reader, loader=LoaderSettings(**settings), **(usual | kwargs))


def parts(data: LandmarkDataModule) -> dict[str, set[str]]:
    """The images of each split."""
    data.setup()
    return {
        split: {record.path.relative_to(data.root).as_posix() for record in annotations.records}
        for split, annotations in data.annotations.items()
    }


def numbers(data: LandmarkDataModule) -> dict[str, tuple[int, int]]:
    """Faces of each split: found and expected."""
    data.setup()
    return {split: (len(a.records), a.expected) for split, a in data.annotations.items()}


# Splits


@pytest.mark.parametrize("split_seed", [0, 1])
def test_divide_keeps_images_apart_and_loses_no_face(root, without_test, split_seed):
    data = module(without_test, val_fraction=0.25, test_fraction=0.25, allow_partial=True, split_seed=split_seed)
    images = parts(data)
    assert sum(len(names) for names in images.values()) == len(set().union(*images.values())) == 16
    assert sum(found for found, _ in numbers(data).values()) == sum(TRAIN)
    for complete in (data, module(root, val_fraction=0.25, split_seed=split_seed)):
        assert all(found == expected for found, expected in numbers(complete).values())


def test_divide_cuts_the_sizes_that_were_asked_for():
    points, labelled, box = np.zeros((98, 2)), np.ones(98, dtype=bool), np.array([0.0, 0.0, 9.0, 9.0])
    records = [Record(Path(f"/faces/{i}.jpg"), points, labelled, box) for i in range(4_000)]

    def reader(_: Path, split: str, allow_partial: bool) -> Annotations:
        return Annotations(records if split == "train" else [], 4_000)

    data = module(Path("/faces"), reader=reader, val_fraction=0.1, test_fraction=0.2, allow_partial=True)
    found = {split: count for split, (count, _) in numbers(data).items()}
    assert found["val"] == pytest.approx(400, abs=4 * 20)
    assert found["test"] == pytest.approx(800, abs=4 * 26)


def test_divide_depends_on_names_and_split_seed_alone(root, tmp_path):
    def backwards_as_png(*args: object) -> Annotations:  # as lfpw, .png officially, .jpg in some copies
        records = read_wflw(*args, expected=COUNTS).records[::-1]
        records = [Record(r.path.with_suffix(".png"), r.points, r.labelled, r.box) for r in records]
        return Annotations(records, len(records))

    usual = parts(module(root, val_fraction=0.25))
    assert parts(module(root, val_fraction=0.25, seed=9)) == usual
    assert len({frozenset(parts(module(root, val_fraction=0.25, split_seed=seed))["val"]) for seed in range(6)}) > 3
    shutil.copytree(root, tmp_path / "elsewhere")
    found = parts(module(tmp_path / "elsewhere", reader=backwards_as_png, val_fraction=0.25))
    assert {split: {name.replace(".png", ".jpg") for name in names} for split, names in found.items()} == usual


def test_divide_moves_no_image_when_another_is_missing(without_test):
    arguments = {"val_fraction": 0.25, "test_fraction": 0.25, "allow_partial": True}
    before = parts(module(without_test, **arguments))
    gone = sorted((without_test / "WFLW_images").rglob("train*.jpg"))[::4]
    for name in gone:
        name.unlink()
    names = {name.relative_to(without_test).as_posix() for name in gone}
    assert parts(module(without_test, **arguments)) == {split: images - names for split, images in before.items()}


def test_divide_never_cuts_official_test_faces(root, without_test, caplog):
    arguments = {"val_fraction": 0.25, "test_fraction": 0.25, "allow_partial": True}
    official = module(root, **arguments)
    images = parts(official)
    assert images["test"] == {f"WFLW_images/{i}--Event {i}/test_{i}.jpg" for i in range(3)}
    assert not caplog.records
    assert official.held_out == {"val_fraction": 0.25, "test_fraction": 0.0, "split_seed": 0, "group": None}
    cut = module(without_test, **arguments)
    assert parts(cut)["val"] == images["val"]  # whether official test faces are there or not
    assert cut.held_out == official.held_out | {"test_fraction": 0.25}


def test_divide_keeps_groups_on_one_side(root, without_test):
    arguments = {"val_fraction": 0.4, "test_fraction": 0.3, "allow_partial": True}
    by_event = parts(module(without_test, group=r"/\d+--", **arguments))
    events = [{name.split("--")[0] for name in names} for names in by_event.values()]
    assert sum(map(len, events)) == len(set.union(*events))
    assert sum(map(len, by_event.values())) == len({name for names in by_event.values() for name in names})
    grouped = module(without_test, group=r"\d--", **arguments)
    with pytest.raises(ConfigError, match=r"'group': None.*'group': '.*d--'"):
        grouped.load_state_dict(grouped.state_dict() | {"group": None})
    with pytest.raises(ConfigError, match=r"dataset\.group: expected a regular expression, found '\*\.rf'"):
        module(root, group="*.rf")


def test_divide_cuts_test_faces_where_no_official_one_is(without_test, caplog):
    with caplog.at_level(logging.INFO, "awing"):
        data = module(without_test, test_fraction=0.25, allow_partial=True)
        images = parts(data)
    assert images["test"]
    assert all("train_" in name for name in images["test"])
    found = numbers(data)
    assert f"no official test face on disk; {found['test'][0]} training faces are held out" in caplog.text
    assert f"{found['test'][0]} of {found['test'][1]} test" in caplog.text
    with pytest.raises(DataError, match=r"list_98pt_rect_attr_test\.txt is missing"):
        module(without_test, test_fraction=0.25).setup()  # and only with permission


def test_empty_split_is_refused_with_advice(root, without_test):
    assert module(root).val_dataloader() == []  # with val_fraction 0
    with pytest.raises(DataError, match=r"no face in split val; .* or cut it .* a larger dataset\.val_fraction"):
        module(root, val_fraction=0.01).val_dataloader()
    with pytest.raises(DataError, match=r"no face in split test; .* a larger dataset\.test_fraction"):
        module(without_test, allow_partial=True).test_dataloader()
    with pytest.raises(DataError, match=r"nowhere: no face in split train; put the set's files there$"):
        module(root / "nowhere", allow_partial=True).train_dataloader()


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_test_dataloader_reads_the_split_unaugmented(root, split):
    data = module(root, val_fraction=0.25, split=split, augmentation=Augmentation())
    data.setup()
    batches = list(data.test_dataloader())
    assert torch.cat([b["index"] for b in batches]).tolist() == list(range(len(data.annotations[split].records)))
    matrices = torch.cat([b["matrix"] for b in batches])
    assert (matrices[:, 0, 1] == 0).all()
    assert (matrices[:, 0, 0] > 0).all()


# Mistakes


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"val_fraction": -0.1}, "val_fraction -0.1"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "below 1 together"),
        ({"split": "valid"}, r"train, val, test; found 'valid'"),
        ({"crop": "tight", "crop_scale": 1.0}, r"dataset\.crop of faces is one of .*official; found 'tight'"),
        ({"crop": "official"}, r"dataset\.crop of faces is one of provided, landmarks; found 'official'"),
        ({"label_noise": {"share": 0.1, "distance": 0.1, "normaliser": "eyes"}}, "found 'eyes'"),
        ({"normalisers": ["inter_ocular", "inter_oculer"]}, "found 'inter_oculer'"),
        ({"scheme": "wflw89"}, "wflw98"),
    ],
)
def test_module_refuses_values_before_reading(wrong, message):
    with pytest.raises(ConfigError, match=message):
        module(Path("/nowhere"), **wrong)


def test_crop_scale_is_one_number_or_that_of_each_crop(root, config):
    scales = {"provided": 1.1, "landmarks": 1.25}
    assert [module(root, crop=crop, crop_scale=scales).crop_scale for crop in scales] == [1.1, 1.25]
    assert module(root, crop="landmarks", crop_scale=1.5).crop_scale == 1.5
    configured = {
        "wflw": scales | {"official": 1.0}, "300w": {"landmarks": 1.25, "provided": 1.0},
        "300w_private": {"landmarks": 1.25}, "lsp": {"provided": 1.0, "landmarks": 1.25},
    }  # fmt: skip
    for dataset, usual in configured.items():
        cfg = config("train", f"dataset={dataset}").dataset
        assert cfg.crop_scale == usual
        assert cfg.crop == next(iter(usual))
    assert instantiate(config("train", "dataset=wflw", "dataset.crop_scale=1.3").dataset).crop_scale == 1.3


def test_train_dataloader_refuses_a_batch_larger_than_the_data(root):
    assert len(module(root, batch_size=24).train_dataloader()) == 1
    with pytest.raises(ConfigError, match=r"data\.batch_size 25 exceeds the 24 training faces"):
        module(root, batch_size=25).train_dataloader()


@forks
@pytest.mark.parametrize("workers", [0, 2])
def test_loader_names_a_broken_picture_in_one_sentence(tmp_path, rendered, config, workers):
    shutil.copytree(rendered / "synthetic", tmp_path / "synthetic")
    for file in (tmp_path / "synthetic").rglob("*.jpg"):
        file.write_bytes(file.read_bytes()[:500])
    words = (
        f"paths.data_dir={tmp_path}", "dataset=synthetic", "dataset.reader.expected={train: 24, test: 8}",
        f"data.num_workers={workers}", "codec.input_size=64",
    )  # fmt: skip
    data = instantiate(config("train", *words).dataset)
    with pytest.raises(
        DataError, match=r"^/\S+\.jpg: expected an image, .* cannot be decoded; is it truncated, [^\n]*\?$"
    ):
        next(iter(data.train_dataloader()))


# Batches


def test_batch_has_the_fields_of_arrays_batch(root):
    for loader in (module(root, augmentation=Augmentation()).train_dataloader(), module(root).test_dataloader()):
        batch = next(iter(loader))
        hints = get_type_hints(Batch)
        assert batch.keys() == hints.keys()
        assert all(isinstance(batch[name], hint) for name, hint in hints.items())
        assert batch["image"].dtype == torch.uint8  # a quarter of the float's size
        assert batch["points"].dtype == torch.float32
        assert batch["matrix"].dtype == torch.float64


def test_training_drops_the_last_batch_and_evaluation_does_not(root):
    assert [len(batch["index"]) for batch in module(root, batch_size=5).train_dataloader()] == [5] * 4  # of 24
    assert [len(batch["index"]) for batch in module(root, batch_size=3).test_dataloader()] == [3, 1]


def epochs(loader: DataLoader, *numbers: int) -> list[list[dict[str, torch.Tensor]]]:
    """The batches of some epochs, as a trainer asks for them."""
    found = []
    for number in numbers:
        loader.sampler.set_epoch(number)
        found.append(list(loader))
    return found


def equal(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)


@pytest.fixture(scope="module")
def training(root, config):
    """Make a module that augments as conf/augment/modern.yaml does, blur, noise and holes included."""
    augment = config("train", "augment=modern").augment
    return lambda **kwargs: module(root, augmentation=instantiate(augment), seed=3, val_fraction=0.25, **kwargs)


@pytest.fixture(scope="module")
def three_epochs(training) -> list[list[dict[str, torch.Tensor]]]:
    return epochs(training().train_dataloader(), 0, 1, 2)


@forks
def test_workers_give_the_batches_of_no_worker(training, three_epochs):
    loader = training(num_workers=2).train_dataloader()
    assert loader.persistent_workers
    assert all(map(equal, epochs(loader, 0, 1, 2), three_epochs))
