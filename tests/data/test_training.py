"""Every data set trains, is tested and says what was scored, with the one command that its page names."""

import json
import shutil

import numpy as np
import pytest
from miniatures import save_image, texture, write_aflw, write_cofw, write_people

from awing.data.readers import read_wflw
from awing.errors import ConfigError, DataError
from awing.training import engine

TINY = [
    "model=small", "trainer=cpu", "model.channels=8", "model.depth=2", "codec.input_size=64", "codec.heatmap_size=16",
    "data.batch_size=4", "data.num_workers=0", "trainer.max_epochs=1", "callbacks.progress=null",
    "dataset.val_fraction=0.3",
]  # fmt: skip
COUNT = 12  # of training faces


@pytest.fixture(scope="module")
def sets(rendered, tmp_path_factory):
    """All data sets in one data folder: rendered faces with 98 and 68 points, noise for the others."""
    folder = tmp_path_factory.mktemp("sets")
    for name in ("synthetic", "wflw", "300w"):
        (folder / name).symlink_to(rendered / name)
    shutil.copytree(rendered / "300w" / "ibug", folder / "300w_private" / "01_Indoor", symlinks=True)
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        write_cofw(
            folder / "cofw", split, [texture(60, 80, seed=i) for i in range(COUNT)], [[11, 6, 40, 50]] * COUNT,
            rng.uniform(11, 51, (COUNT, 29, 2)), rng.integers(0, 2, (COUNT, 29)),
        )  # fmt: skip
    names = [f"0/image{i}.jpg" for i in range(COUNT + 4)]
    visible = rng.random((len(names), 19)) < 0.8
    visible[:2] = True
    write_aflw(
        folder / "aflw", names, [[10.0, 70, 5, 55]] * len(names), rng.uniform(10, 50, (len(names), 19, 2)), visible,
        rng.permutation(len(names)) + 1,
    )  # fmt: skip
    for i, name in enumerate(names):
        save_image(folder / "aflw" / "data" / "flickr" / name, texture(60, 80, seed=i))
    write_people(folder / "lsp", 8, 16)
    write_own(folder / "own", rendered)
    return folder


def write_own(root, rendered) -> None:
    """A table and COCO keypoints; the nose is not always labelled."""
    columns = [f"{axis}{i}" for i in range(3) for axis in "xy"]
    rows, content = [",".join(["image", "box_x0", "box_y0", "box_x1", "box_y1", *columns])], {"images": []}
    content |= {"annotations": [], "categories": [{"id": 1}]}
    (root / "photos").mkdir(parents=True)
    for i, record in enumerate(read_wflw(rendered / "wflw", "train", expected={"train": 24}).records):
        name, points, seen = f"photos/face {i}.jpg", record.points[[96, 97, 54]].round(2), i % 3 > 0
        shutil.copy(record.path, root / name)
        rows.append(",".join(map(str, [name, *record.box, *points[:2].ravel(), *(points[2] if seen else ["", ""])])))
        content["images"].append({"id": i, "file_name": name})
        content["annotations"].append({
            "id": i, "image_id": i, "category_id": 1, "bbox": [*record.box[:2], *(record.box[2:] - record.box[:2])],
            "keypoints": [*points[0], 2, *points[1], 2, *(points[2] if seen else (0, 0)), 2 * seen],
        })  # fmt: skip
    (root / "train.csv").write_text("\n".join(rows) + "\n")
    (root / "train.json").write_text(json.dumps(content))
    scheme = "names: [left_eye, right_eye, nose]\nflip_pairs: [[left_eye, right_eye]]\n"
    (root / "plain.yaml").write_text(scheme)
    (root / "scheme.yaml").write_text(
        scheme + "lines: [[left_eye, nose, right_eye]]\nnormalisers: {inter_ocular: [left_eye, right_eye]}\n"
    )


PARTIAL = ["dataset.allow_partial=true"]
OWN = ["dataset=custom", "dataset.root=${paths.data_dir}/own", "dataset.test_fraction=0.2"]
AFLW = ["dataset=aflw", f"+dataset.reader.expected={{train: {COUNT}, test: 4}}"]
# words -> crop, subsets besides the whole, normalisers, test faces (None: some)
SETS = {
    "synthetic": (["dataset=synthetic", "dataset.reader.expected={train: 24, test: 8}"],
                  "provided", {"pose", "blur"}, ["inter_ocular", "inter_pupil"], 8),
    "wflw": (["dataset=wflw", *PARTIAL], "provided", {"pose", "blur"}, ["inter_ocular", "inter_pupil"], 8),
    "300w": (["dataset=300w", *PARTIAL], "landmarks", {"challenge"}, ["inter_ocular", "inter_pupil"], 8),
    "300w_private": (["dataset=300w_private", *PARTIAL], "landmarks", {"indoor"}, ["inter_ocular", "inter_pupil"], 8),
    "cofw": (["dataset=cofw", *PARTIAL], "provided", set(), ["inter_pupil", "inter_ocular"], COUNT),
    "aflw": (AFLW, "provided", {"frontal"}, ["box", "box_diagonal"], 4),
    "aflw, visible": ([*AFLW, "dataset.visible_only=true"], "provided", {"frontal"}, ["box", "box_diagonal"], 4),
    "lsp": (["dataset=lsp", "+dataset.reader.expected={lsp_dataset: 8, lspet_dataset: 16}"],
            "provided", set(), ["box", "torso"], 4),
    "csv": ([*OWN, "dataset.scheme=${dataset.root}/scheme.yaml"], "provided", set(), ["inter_ocular"], None),
    "coco without lines": ([*OWN, "dataset.scheme=${dataset.root}/plain.yaml", "dataset.reader.train=train.json",
                            "model.boundary=false"], "provided", set(), ["box"], None),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_a_set_trains_with_one_command(sets, config, tmp_path, capsys, name):
    words, crop, subsets, normalisers, count = SETS[name]
    result = engine.fit(config("train", *TINY, f"paths.data_dir={sets}", *words), tmp_path)
    full = result["subsets"]["full"]
    assert json.loads((tmp_path / "test" / "metrics.json").read_text()) == result
    assert result["crop"] == crop and subsets <= set(result["subsets"])
    assert list(full["nme"]) == normalisers and all(np.isfinite(value) for value in full["nme"].values())
    assert full["count"] == result["found"] and (result["found"] == count if count else result["found"] > 0)
    assert ("pck" in full) == (name == "lsp")
    if name == "cofw":  # all faces are in one file
        rows = (tmp_path / "test" / "per_image.csv").read_text().splitlines()
        assert len({row.split(",")[1] for row in rows}) == COUNT + 1
    visible_only = {"aflw": False, "aflw, visible": True}.get(name)
    assert result.get("visible_only") is visible_only
    assert ("visible points only" in capsys.readouterr().out) == bool(visible_only)


def test_faces_that_cannot_be_scored_are_named_before_training(rendered, config, tmp_path):
    shutil.copytree(rendered / "synthetic", tmp_path / "wflw")
    (file,) = tmp_path.rglob("list_98pt_rect_attr_test.txt")
    words = file.read_text().split(" ")
    words[2 * 72 : 2 * 73] = words[2 * 60 : 2 * 61]  # no distance between the eyes
    file.write_text(" ".join(words))
    overrides = "dataset=wflw", "+dataset.reader.expected={train: 24, test: 8}", f"paths.data_dir={tmp_path}"
    with pytest.raises(DataError, match=r"a normaliser must be positive, found {'inter_ocular': 0"):
        engine.fit(config("train", *TINY, *overrides), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("wrong", ["{shift: [0, -1]}", "{shift: [a]}", "{scale: 2}", "{turn: [1]}"])
def test_a_box_jitter_that_cannot_work_is_refused_before_the_evaluation(sets, config, tmp_path, wrong):
    overrides = "dataset=cofw", f"+dataset.reader.expected={{train: {COUNT}, test: {COUNT}}}", f"paths.data_dir={sets}"
    engine.fit(config("train", *TINY, *overrides, "test=false", "trainer.max_steps=1"), tmp_path / "run")
    words = f"checkpoint={tmp_path}/run/checkpoints/last.ckpt", "trainer=cpu", "data.num_workers=0", *overrides
    with pytest.raises(ConfigError, match="box"):
        engine.evaluate(config("evaluate", *words, f"box_jitter={wrong}"), tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()
