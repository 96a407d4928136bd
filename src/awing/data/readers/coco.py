"""COCO keypoints: https://cocodataset.org/#format-data."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from awing.data.records import Record, image_path, parse_numbers
from awing.errors import DataError
from awing.schemes import Scheme

LISTS = ("images", "annotations", "categories")
log = logging.getLogger(__name__)


def read_coco(file: Path, images: Path, scheme: Scheme) -> tuple[list[Record], list[str]]:
    """Read the faces of a file, and what cannot be used of it; image names start from the folder ``images``."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{file}: expected JSON, found: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        raise DataError(f"{file}: expected COCO keypoints, an object with {', '.join(LISTS)}, found {content!s:.200}")
    pictures = {image.get("id"): image for image in content["images"]}
    if len(pictures) != len(content["images"]) or not all(image.get("file_name") for image in pictures.values()):
        raise DataError(f"{file}: expected an id of its own and a file_name in each of images")
    categories = _categories(content["categories"], scheme, file)
    records, unusable, left_out = list[Record](), list[str](), Counter[str]()
    for i, entry in enumerate(content["annotations"]):
        if entry.get("category_id") not in categories:
            names = [c.get("name") for c in content["categories"] if c.get("id") == entry.get("category_id")]
            left_out[f"of category {names[0] if names else entry.get('category_id')!r}"] += 1
        elif entry.get("iscrowd"):
            left_out["crowds"] += 1
        elif not _flags(entry).any():
            left_out["without a labelled keypoint"] += 1
        else:
            where = f"annotation {entry.get('id', f'no. {i}')}"
            image = pictures.get(entry.get("image_id"), {})
            try:
                records.append(_record(entry, image, images, scheme.num_landmarks, where))
            except DataError as error:
                unusable.append(f"{file}: {where} ({image.get('file_name')}): {error}")
    if left_out:
        log.info("%s: no faces of this scheme: %s", file, ", ".join(f"{n} {why}" for why, n in left_out.items()))
    return records, unusable


def _categories(categories: list[dict[str, Any]], scheme: Scheme, file: Path) -> set[Any]:
    """The ids of the categories that have the scheme's keypoints, or of the only one if it does not name any."""
    found = {category.get("id") for category in categories if category.get("keypoints") == list(scheme.names)}
    if len(categories) == 1 and not categories[0].get("keypoints"):
        return {categories[0].get("id")}
    if not found:
        expected = f"a category whose keypoints are the names of scheme {scheme.name}, {list(scheme.names)}"
        raise DataError(f"{file}: expected {expected}, found {[c.get('keypoints') for c in categories]!s:.2000}")
    return found


def _flags(entry: Mapping[str, Any]) -> np.ndarray:
    """(K,) whether a keypoint's third number is anything but 0."""
    return np.array([flag != 0 for flag in (entry.get("keypoints") or [])[2::3]], dtype=bool)


def _record(entry: Mapping[str, Any], image: Mapping[str, Any], folder: Path, count: int, where: str) -> Record:
    if not image:
        raise DataError(f"no image has the id {entry.get('image_id')!r}")
    if len(entry["keypoints"]) != 3 * count:
        raise DataError(f"expected {3 * count} numbers in keypoints, found {len(entry['keypoints'])}")
    keypoints, labelled = np.array(entry["keypoints"], dtype=object).reshape(-1, 3), _flags(entry)
    if not np.isin(flags := keypoints[:, 2], (0, 1, 2)).all():
        raise DataError("expected 0, 1 or 2 as the third number of a keypoint")
    points, box = np.zeros((count, 2)), None  # coordinates of an unlabelled point may be anything
    points[labelled] = parse_numbers(keypoints[labelled, :2].ravel().tolist(), "keypoints").reshape(-1, 2)
    if bbox := entry.get("bbox"):
        x, y, width, height = parse_numbers(bbox, "bbox")
        box = np.array([x, y, x + width, y + height]) if width > 0 and height > 0 else None  # no area: no box
    width, height = image.get("width"), image.get("height")
    size = (int(width), int(height)) if width and height else None
    path = image_path(folder, image["file_name"], "file_name")
    return Record(path, points, labelled, box, occluded=flags == 1, size=size, id=where)
