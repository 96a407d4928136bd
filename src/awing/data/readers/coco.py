"""COCO keypoints: https://cocodataset.org/#format-data."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from awing.data.records import Record, check_box, image_path, parse_numbers
from awing.errors import DataError
from awing.schemes import Scheme

LISTS = ("images", "annotations", "categories")
log = logging.getLogger(__name__)


def read_coco(file: Path, images: Path, scheme: Scheme) -> list[Record]:
    """Read the faces of a file of COCO keypoints; image names start from the folder ``images``."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{file}: expected JSON, found: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        raise DataError(f"{file}: expected COCO keypoints, an object with {', '.join(LISTS)}, found {content!s:.200}")
    names = {image.get("id"): image.get("file_name") for image in content["images"]}
    if len(names) != len(content["images"]) or not all(names.values()):
        raise DataError(f"{file}: expected an id of its own and a file_name in each of images")
    category = _category(content["categories"], scheme, file)
    records, left_out = [], 0
    for i, entry in enumerate(content["annotations"]):
        if entry.get("category_id") != category:
            continue
        where, image = f"{file}: annotations[{i}]", entry.get("image_id")
        keypoints = _numbers(entry, "keypoints", 3 * scheme.num_landmarks, where).reshape(-1, 3)
        if entry.get("iscrowd") or not keypoints[:, 2].any():
            left_out += 1
            continue
        if image not in names:
            raise DataError(f"{where}: no image has the id {image!r}")
        records.append(_record(entry, keypoints, image_path(images, names[image], where), where))
    if left_out:
        log.info("%s: %d crowds and annotations without a labelled keypoint are no faces", file, left_out)
    return records


def _category(categories: list[dict[str, Any]], scheme: Scheme, file: Path) -> Any:
    """The id of the category that has the scheme's keypoints, or of the only one if it does not name any."""
    for category in categories:
        names = category.get("keypoints")
        if names == list(scheme.names) or (len(categories) == 1 and not names):
            return category.get("id")
    expected = f"a category whose keypoints are the names of scheme {scheme.name}, {list(scheme.names)}"
    raise DataError(f"{file}: expected {expected}, found {[c.get('keypoints') for c in categories]!s:.2000}")


def _record(entry: Mapping[str, Any], keypoints: np.ndarray, path: Path, where: str) -> Record:
    points, flags, box = keypoints[:, :2], keypoints[:, 2], None
    if not np.isin(flags, (0, 1, 2)).all():
        raise DataError(f"{where}: expected 0, 1 or 2 as the third number of a keypoint")
    if entry.get("bbox") is not None:
        x, y, width, height = _numbers(entry, "bbox", 4, where)
        box = check_box(np.array([x, y, x + width, y + height]), where)
    return Record(path, points, flags > 0, box, occluded=flags == 1)


def _numbers(entry: Mapping[str, Any], key: str, count: int, where: str) -> np.ndarray:
    values = entry.get(key)
    if not isinstance(values, list) or len(values) != count:
        found = len(values) if isinstance(values, list) else f"{values!r:.40}"
        raise DataError(f"{where}: expected {count} numbers in {key}, found {found}")
    return parse_numbers(values, f"{where}: {key}")
