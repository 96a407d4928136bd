"""Your own data: a table or COCO keypoints, and a landmark scheme."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from awing.data.readers.coco import read_coco
from awing.data.readers.table import read_table
from awing.data.records import Annotations, Record, Source, check_complete
from awing.errors import ConfigError, DataError
from awing.schemes import get_scheme


def read_custom(
    root: Path,
    split: str,
    allow_partial: bool = False,
    *,
    scheme: str | Mapping[str, Any],
    train: str,
    val: str | None = None,
    test: str | None = None,
    images: str | Mapping[str, str] = ".",
) -> Annotations:
    """Read a ``.csv`` table or a ``.json`` file of COCO keypoints.

    Coordinates are source px, 0-based, and taken as they stand: the centre of the first pixel is at (0, 0).

    A table has a face a row, and in any order the columns ``image``; ``x0, y0`` to the scheme's last landmark, or
    ``NAME_x, NAME_y``, both empty or ``nan`` where it is unlabelled; ``box_x0, box_y0, box_x1, box_y1``, which may be
    empty or missing; and ``group``, if the cut of held-out faces keeps some together.

    Of COCO keypoints, the categories are read whose ``keypoints`` are the scheme's names, or the only one if it names
    none. What is no face (other categories, crowds, no labelled keypoint) is counted in the log.

    ``scheme`` is what :func:`awing.schemes.get_scheme` takes; ``train``, ``val`` and ``test`` are files in ``root``;
    without one of the latter its faces are cut from the training faces. ``images`` is the folder in ``root`` that image
    names start from, or one of each split; a name is also looked for beside the file that has it, and there first
    where the file lies in a folder of ``root``. See :mod:`awing.data.readers` for the other arguments and errors.
    """
    name = {"train": train, "val": val, "test": test}[split]
    if name is None:
        return Annotations([], 0)
    file, folder = root / name, root / (images if isinstance(images, str) else images.get(split, "."))
    read_faces = {".csv": read_table, ".tsv": read_table, ".json": read_coco}.get(file.suffix.lower())
    if read_faces is None:
        raise ConfigError(f"dataset.reader.{split}: expected the name of a .csv, .tsv or .json file, found {name!r}")
    source = Source("The data set", "", f"{name}, and in {folder} the images that it names")
    if not file.is_file():
        return check_complete(source, root, [], 0, allow_partial, [f"{name} is missing"])
    records, unusable = read_faces(file, folder, get_scheme(scheme))
    if not records and not unusable:
        raise DataError(f"{file}: expected a face, found none")
    records = [_find(record, file, folder, root) for record in records]
    return check_complete(source, root, records, len(records), allow_partial)._replace(unusable=unusable)


def _find(record: Record, file: Path, folder: Path, root: Path) -> Record:
    """The record with its image where it is: in the images' folder or beside the annotation file."""
    name = record.path.relative_to(folder)
    folders = (folder, root) if file.parent == root else (file.parent, folder)
    found = next((place for place in folders if (place / name).is_file()), folder)
    return replace(record, path=found / name, root=None if found.resolve().is_relative_to(root.resolve()) else found)
