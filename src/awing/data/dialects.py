"""Formats of labelling tools: functions from a file to its entries, and from an entry to an image's name and shapes.

Both raise Python's built-in exceptions on malformed input. sleap-io reads three of these formats, but not YOLO's boxes
and not Label Studio's pictures, and it leaves out an entry that it cannot read with only a warning.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np
import yaml

from awing.data.images import image_head
from awing.data.readers.w300 import read_pts

# kind: point, rectangle or another; key that the shapes of one face share, or None; label; (n, 2) x and y, px
Shape = tuple[str, Any, str, Any]
Drawn = tuple[str, list[Shape]]  # name of an image, and the shapes drawn on it


class Dialect(NamedTuple):
    """How to recognise and read the files of one labelling tool."""

    pattern: str  # of their names
    marker: str  # a regular expression that matches in their text
    entries: Callable[[Path], Iterable[tuple[str, Any]]]  # location of an entry, for messages, and argument of read
    read: Callable[[Any], Drawn]
    edge: float = 0.5  # x of the first pixel's centre: 0.5 if coordinates start at the image's edge, else 0


def _read_labelme(file: Path) -> Drawn:
    content = json.loads(file.read_text(encoding="utf-8-sig"))
    return content["imagePath"], [
        (shape["shape_type"], shape.get("group_id"), shape["label"], shape["points"]) for shape in content["shapes"]
    ]


def _xml_images(file: Path) -> Iterator[tuple[str, Any]]:
    root = ElementTree.parse(file).getroot()
    if root.find("track") is not None:
        raise ValueError("a video's tracks; export it as CVAT for images")
    for image in root.iter("image"):
        yield f"{file}: image {image.get('id', '')} {image.get('name') or image.get('file')}", image


def _read_cvat(image: ElementTree.Element) -> Drawn:
    shapes: list[Shape] = []
    for i, drawn in enumerate(image):
        face = drawn.get("group_id")
        if drawn.tag == "box":
            shapes.append(("rectangle", face, "", [drawn.attrib[key] for key in ("xtl", "ytl", "xbr", "ybr")]))
        elif drawn.tag in ("points", "skeleton"):
            for element in drawn.iter("points"):  # the element itself, or those of a skeleton
                pairs = [pair.split(",") for pair in element.attrib["points"].split(";")]
                group = face or (f"shape {i}" if drawn.tag == "skeleton" or len(pairs) > 1 else None)
                if element.get("outside") != "1":
                    shapes.append(("point", group, element.attrib["label"], pairs))
        elif drawn.tag != "tag":
            shapes.append((drawn.tag, face, "", []))
    return image.attrib["name"], shapes


def _read_imglab(image: ElementTree.Element) -> Drawn:
    shapes: list[Shape] = []
    for i, box in enumerate(image.iter("box")):
        x, y, width, height = (float(box.attrib[key]) for key in ("left", "top", "width", "height"))
        ignored = box.get("ignore") == "1"
        corners = np.array([[x, y], [x + width, y + height]]) - 0.5
        shapes.append(("ignored box" if ignored else "rectangle", i, "", corners))
        parts = [] if ignored else list(box.iter("part"))
        shapes += [("point", i, part.attrib["name"], [part.attrib["x"], part.attrib["y"]]) for part in parts]
    return image.attrib["file"], shapes


def _tasks(file: Path) -> Iterator[tuple[str, Any]]:
    for task in json.loads(file.read_text(encoding="utf-8-sig")):
        yield f"{file}: task {task.get('id')}", task


def _read_label_studio(task: dict[str, Any]) -> Drawn:
    """Read a task. Points belong to the rectangle of which they are a region, or with which they have a relation."""
    results = task["annotations"] if "annotations" in task else task["completions"]
    done = [given for given in results if not given.get("was_cancelled")]
    if len(done) > 1:
        raise ValueError(f"{len(done)} annotations of one picture; delete all but one")
    regions, shapes = done[0]["result"] if done else [], list[Shape]()
    links = [(region["from_id"], region["to_id"]) for region in regions if region["type"] == "relation"]
    partners = {a: b for link in links for a, b in (link, link[::-1])}
    for region in regions:
        kind, value = region["type"], region.get("value", {})
        if region.get("image_rotation"):
            raise ValueError(f"the picture is turned by {region['image_rotation']} degrees; turn its file instead")
        if kind in ("keypointlabels", "rectanglelabels"):
            size = np.array([region["original_width"], region["original_height"]]) / 100  # coordinates are per cent
            start = np.array([value["x"], value["y"]]) * size
            if kind == "keypointlabels":
                shapes.append(("point", region.get("parentID") or partners.get(region["id"]), value[kind][0], start))
            else:
                end = start + np.array([value["width"], value["height"]]) * size
                shapes.append(("rectangle", region["id"], "", [start, end]))
        elif kind != "relation":
            shapes.append((kind, None, "", []))
    return task["data"].get("image") or next(v for v in task["data"].values() if isinstance(v, str)), shapes


def _deeplabcut_rows(file: Path) -> Iterator[tuple[str, Any]]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        head = dict[str, list[str]]()
        for row in (rows := csv.reader(stream)):
            if "coords" in head:
                yield f"{file}:{rows.line_num}", (head, row)
            else:
                head[row[0]] = row


def _read_deeplabcut(entry: tuple[dict[str, list[str]], list[str]]) -> Drawn:
    head, row = entry
    first, faces = head["coords"].index("x"), head.get("individuals") or [""] * len(row)
    labelled = [i for i in range(first, len(head["coords"]), 2) if row[i].strip().lower() not in ("", "nan")]
    shapes = [("point", faces[i], head["bodyparts"][i], row[i : i + 2]) for i in labelled]
    return "/".join(row[:first]), shapes  # the path is in one cell or three


def _yolo_lines(file: Path) -> Iterator[tuple[str, Any]]:
    about = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    for labels in sorted(file.parent.rglob("labels/**/*.txt")):
        for i, line in enumerate(labels.read_text().splitlines(), 1):
            yield f"{labels}:{i}", (about, labels, line)


def _read_yolo(entry: tuple[dict[str, Any], Path, str]) -> Drawn:
    about, labels, line = entry
    (count, dimensions), numbers = about["kpt_shape"], np.array(line.split(), dtype=float)
    if len(numbers) != 5 + count * dimensions:
        raise ValueError(f"expected {5 + count * dimensions} numbers, found {len(numbers)}")
    image = _image_of(Path("images".join(str(labels).rsplit("labels", 1))))
    size = np.array(image_head(image).shown)
    shapes: list[Shape] = [
        ("rectangle", None, "", [(numbers[1:3] + sign * numbers[3:5]) * size for sign in (-0.5, 0.5)])
    ]
    for name, point in zip(yolo_names(about), numbers[5:].reshape(count, dimensions), strict=True):
        if point[2] > 0 if dimensions == 3 else point[0] >= 0:
            shapes.append(("point", None, name, point[:2] * size))
    return str(image), shapes


def yolo_names(about: dict[str, Any]) -> list[str]:
    """Names of the points of a YOLO data set: p0, p1 and so on if it gives none, as most."""
    names: list[str] = next(iter((about.get("kpt_names") or {}).values()), [])
    return names or [f"p{i}" for i in range(about["kpt_shape"][0])]


def _read_points_file(file: Path) -> Drawn:
    count = len(read_pts(min(_files(file.parent)[".pts"])))  # all files must have as many
    return str(_image_of(file)), [("point", None, "p", read_pts(file, count))]


def _image_of(file: Path) -> Path:
    """The image of the same name in the same folder."""
    for path in _files(file.parent)[file.stem]:
        if cv2.haveImageReader(str(path)):
            return path
    raise ValueError(f"there is no image {file.with_suffix('')}.*")


@cache
def _files(folder: Path) -> Mapping[str, list[Path]]:
    """Files of a folder by their stem and by their suffix, sorted."""
    files = defaultdict[str, list[Path]](list)
    for path in sorted(folder.glob("[!.]*")):
        files[path.stem].append(path)
        files[path.suffix].append(path)
    return files


DIALECTS = {
    "labelme": Dialect("[!.]*.json", r'"shapes"\s*:', lambda file: [(str(file), file)], _read_labelme),
    "Label Studio": Dialect("[!.]*.json", r"\A\s*\[", _tasks, _read_label_studio),
    "CVAT": Dialect("[!.]*.xml", r"<annotations\b", _xml_images, _read_cvat),
    "imglab": Dialect("[!.]*.xml", r"<dataset\b", _xml_images, _read_imglab, edge=0),
    "DeepLabCut": Dialect("CollectedData*.csv", r"(?m)^coords,", _deeplabcut_rows, _read_deeplabcut, edge=0),
    "YOLO-pose": Dialect("[!.]*.y*ml", r"(?m)^kpt_shape\s*:", _yolo_lines, _read_yolo),
    ".pts": Dialect("[!.]*.pts", "n_points", lambda file: [(str(file), file)], _read_points_file, edge=0),
}
