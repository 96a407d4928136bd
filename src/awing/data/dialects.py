"""The formats of labelling tools: a file -> its entries, and an entry -> an image's name and the shapes drawn on it.

Both raise what Python raises where something is not as it should be. sleap-io reads three of these formats, but no box
of YOLO's and no pictures of Label Studio's, and an entry that it cannot read is left out with a warning alone.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np
import yaml

from awing.data.images import image_head
from awing.data.readers.w300 import read_pts


class Shape(NamedTuple):
    """A landmark (kind point), several (points), a box (rectangle) or anything else."""

    kind: str
    face: Any  # what the shapes of one face have in common; None: nothing
    label: str
    points: Any  # (n, 2) x and y, px


class Dialect(NamedTuple):
    """How a tool's files are known and read."""

    pattern: str  # of their names
    marker: str  # a regular expression that is found in their text
    entries: Callable[[Path], Iterable[tuple[str, Any]]]  # where an entry stands, for messages, and what shapes takes
    shapes: Callable[[Any], tuple[str, list[Shape]]]
    edge: float = 0.5  # x of the middle of the first pixel: 0 where pixels are counted, 0.5 where edges are


def _read_labelme(file: Path) -> tuple[str, list[Shape]]:
    content = json.loads(file.read_text(encoding="utf-8-sig"))
    shapes = [Shape(s["shape_type"], s.get("group_id"), s["label"], s["points"]) for s in content["shapes"]]
    return content["imagePath"], shapes


def _xml_images(file: Path) -> Iterator[tuple[str, Any]]:
    for image in ElementTree.parse(file).getroot().iter("image"):
        yield f"{file}: image {image.get('id', '')} {image.get('name') or image.get('file')}", image


def _read_cvat(image: ElementTree.Element) -> tuple[str, list[Shape]]:
    shapes = []
    for i, drawn in enumerate(image):
        face, label = drawn.get("group_id"), drawn.get("label", "")
        if drawn.tag == "box":
            (x0, y0, x1, y1) = (drawn.attrib[key] for key in ("xtl", "ytl", "xbr", "ybr"))
            shapes.append(Shape("rectangle", face, label, [[x0, y0], [x1, y1]]))
        elif drawn.tag in ("points", "skeleton"):
            for element in drawn.iter("points"):  # itself, or a skeleton's
                pairs = [pair.split(",") for pair in element.attrib["points"].split(";")]
                group = face or (i if drawn.tag == "skeleton" or len(pairs) > 1 else None)
                if element.get("outside") != "1":
                    shapes.append(Shape("points", group, element.attrib["label"], pairs))
        elif drawn.tag != "tag":
            shapes.append(Shape(drawn.tag, face, label, []))
    return image.attrib["name"], shapes


def _read_imglab(image: ElementTree.Element) -> tuple[str, list[Shape]]:
    shapes = []
    for i, box in enumerate(image.iter("box")):
        x, y, width, height = (float(box.attrib[key]) - 0.5 for key in ("left", "top", "width", "height"))
        kind = "ignored box" if box.get("ignore") == "1" else "rectangle"
        shapes.append(Shape(kind, i, "", [[x, y], [x + width + 0.5, y + height + 0.5]]))
        parts = list(box.iter("part")) if kind == "rectangle" else []
        shapes += [Shape("point", i, part.attrib["name"], [[part.attrib["x"], part.attrib["y"]]]) for part in parts]
    return image.attrib["file"], shapes


def _tasks(file: Path) -> Iterator[tuple[str, Any]]:
    for task in json.loads(file.read_text(encoding="utf-8-sig")):
        yield f"{file}: task {task.get('id')}", task


def _read_label_studio(task: dict[str, Any]) -> tuple[str, list[Shape]]:
    """Points belong to the rectangle that they are a region of, or have a relation with."""
    done = [given for given in task.get("annotations") or task["completions"] if not given.get("was_cancelled")]
    if len(done) > 1:
        raise ValueError(f"{len(done)} annotations of one picture; delete all but one")
    regions, shapes = done[0]["result"] if done else [], []
    links = [(region["from_id"], region["to_id"]) for region in regions if region["type"] == "relation"]
    partners = {a: b for link in links for a, b in (link, link[::-1])}
    for region in regions:
        kind, value = region["type"], region.get("value", {})
        if region.get("image_rotation"):
            raise ValueError(f"the picture is turned by {region['image_rotation']} degrees; turn its file instead")
        if kind in ("keypointlabels", "rectanglelabels"):
            size, corner = (np.array([region[f"original_{side}"] for side in ("width", "height")]) / 100), (0, 0)
            face = region.get("parentID") or partners.get(region["id"])
            if kind == "rectanglelabels":
                face, corner = region["id"], (value["width"], value["height"])
            start = np.array([value["x"], value["y"]])  # per cent
            name = {"keypointlabels": "points", "rectanglelabels": "rectangle"}[kind]
            ends = [start * size, (start + corner) * size][: 1 + (name == "rectangle")]
            shapes.append(Shape(name, face, value[kind][0], ends))
        elif kind != "relation":
            shapes.append(Shape(kind, None, "", []))
    image = task["data"].get("image") or next(v for v in task["data"].values() if isinstance(v, str))
    return image, shapes


def _deeplabcut_rows(file: Path) -> Iterator[tuple[str, Any]]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        head = dict[str, list[str]]()
        for row in (rows := csv.reader(stream)):
            if "coords" in head:
                yield f"{file}:{rows.line_num}", (head, row)
            else:
                head[row[0]] = row


def _read_deeplabcut(entry: tuple[dict[str, list[str]], list[str]]) -> tuple[str, list[Shape]]:
    head, row = entry
    first, individuals, shapes = head["coords"].index("x"), head.get("individuals"), []
    for i in range(first, len(head["coords"]), 2):
        if row[i].strip().lower() not in ("", "nan"):
            face = individuals[i] if individuals else None
            shapes.append(Shape("point", face, head["bodyparts"][i], [row[i : i + 2]]))
    return "/".join(row[:first]), shapes  # the path in one cell or three


def _yolo_lines(file: Path) -> Iterator[tuple[str, Any]]:
    about = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    for labels in sorted(file.parent.rglob("labels/**/*.txt")):
        for i, line in enumerate(labels.read_text().splitlines(), 1):
            yield f"{labels}:{i}", (about, labels, line)


def _read_yolo(entry: tuple[dict[str, Any], Path, str]) -> tuple[str, list[Shape]]:
    about, labels, line = entry
    (count, dimensions), numbers = about["kpt_shape"], np.array(line.split(), dtype=float)
    if len(numbers) != 5 + count * dimensions:
        raise ValueError(f"expected {5 + count * dimensions} numbers, found {len(numbers)}")
    image = _image_of(Path("images".join(str(labels).rsplit("labels", 1))))
    width, height, orientation = image_head(image)
    size = np.array([height, width] if orientation > 4 else [width, height])
    centre, half, points = numbers[1:3], numbers[3:5] / 2, numbers[5:].reshape(count, dimensions)
    drawn = zip(
        yolo_names(about), points, strict=True
    )  # unlabelled: the third number is 0, or without it the first < 0
    labelled = [
        (name, point[:2] * size) for name, point in drawn if (point[2] > 0 if dimensions == 3 else point[0] >= 0)
    ]
    shapes = [Shape("point", None, name, [xy]) for name, xy in labelled]
    return str(image), [*shapes, Shape("rectangle", None, "", [(centre - half) * size, (centre + half) * size])]


def yolo_names(about: dict[str, Any]) -> list[str]:
    """The names of the points of a YOLO data set; most give none."""
    names: list[str] = next(iter((about.get("kpt_names") or {}).values()), [])
    return names or [f"p{i}" for i in range(about["kpt_shape"][0])]


def _read_points_file(file: Path) -> tuple[str, list[Shape]]:
    return str(_image_of(file)), [Shape("points", None, "p", read_pts(file))]


def _image_of(file: Path) -> Path:
    """The image of the same name in the same folder."""
    for path in sorted(file.parent.glob("*")):
        if path.stem == file.stem and cv2.haveImageReader(str(path)):
            return path
    raise ValueError(f"there is no image {file.with_suffix('')}.*")


def _whole(file: Path) -> list[tuple[str, Path]]:
    return [(str(file), file)]


DIALECTS = {
    "labelme": Dialect("[!.]*.json", r'"shapes"\s*:', _whole, _read_labelme),
    "Label Studio": Dialect("[!.]*.json", r"\A\s*\[", _tasks, _read_label_studio),
    "CVAT": Dialect("[!.]*.xml", r"<annotations\b", _xml_images, _read_cvat),
    "imglab": Dialect("[!.]*.xml", r"<dataset\b", _xml_images, _read_imglab, edge=0),
    "DeepLabCut": Dialect("CollectedData*.csv", r"(?m)^coords,", _deeplabcut_rows, _read_deeplabcut, edge=0),
    "YOLO-pose": Dialect("[!.]*.y*ml", r"(?m)^kpt_shape\s*:", _yolo_lines, _read_yolo),
    ".pts": Dialect("[!.]*.pts", "n_points", _whole, _read_points_file, edge=0),
}
