"""Small data sets in the official layouts, for the tests that read them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import h5py
import numpy as np
from scipy.io import savemat
from scipy.ndimage import gaussian_filter


def wflw_line(points: np.ndarray, box: Sequence[int], flags: Sequence[int], name: str) -> str:
    """One of WFLW's 207-column lines."""
    return " ".join([*(f"{value:.6f}" for value in points.ravel()), *map(str, [*box, *flags]), name])


def write_wflw_list(root: Path, split: str, content: str | bytes) -> Path:
    """The annotations of one split, byte for byte."""
    file = root / f"WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def pts_text(points: np.ndarray) -> str:
    """The content of a .pts file; points as they stand there, 1-based."""
    body = "".join(f"{x:.6f} {y:.6f}\n" for x, y in points)
    return f"version: 1\nn_points:  {len(points)}\n{{\n{body}}}\n"


def save_image(path: Path, image: np.ndarray, *options: int) -> None:
    """Write RGB or grey pixels in the format of the path's extension."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels, list(options))[1].tobytes())


def texture(height: int, width: int, sigma: float = 3, seed: int = 0) -> np.ndarray:
    """Smooth colour noise over the whole range."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = gaussian_filter(noise, (sigma, sigma, 0))
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def write_joints(root: Path, lsp: np.ndarray, lspet: np.ndarray) -> None:
    """Both official containers, from (images, 14, 3) joints: x, y and the flag of each file."""
    for folder, axes, joints in (("lsp_dataset", (2, 1, 0), lsp), ("lspet_dataset", (1, 2, 0), lspet)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        savemat(root / folder / "joints.mat", {"joints": joints.transpose(axes)}, do_compression=True)


def write_people(root: Path, lsp: int, lspet: int) -> None:
    """LSP in its layout, of noise; every other person of LSPET has no left shoulder."""
    rng = np.random.default_rng(0)
    joints = rng.uniform((0, 0, 0), (120, 90, 0), (lsp + lspet, 14, 3))
    joints[:, 9, :2], joints[:, 2, :2] = (-60, -60), (180, 150)  # 0.2 of this torso is half an image
    joints[::3, 7, 2] = 1
    joints[lsp:, :, 2] = 1
    joints[lsp::2, 9] = (-300, -200, 0)
    write_joints(root, joints[:lsp], joints[lsp:])
    names = [f"lsp_dataset/images/im{i + 1:04d}.jpg" for i in range(lsp)]
    names += [f"lspet_dataset/images/im{i + 1:05d}.jpg" for i in range(lspet)]
    for name in names:
        save_image(root / name, rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))


def write_cofw(root: Path, split: str, images, boxes, points, occluded) -> Path:
    """COFW as MATLAB 7.3 writes it: references to transposed images; every array with its axes reversed; 1-based."""
    end, file = {"train": "Tr", "test": "T"}[split], root / f"COFW_{split}_color.mat"
    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as content:
        cells = content.create_dataset(f"Is{end}", (1, len(images)), h5py.ref_dtype)
        for i, image in enumerate(images):
            stored = content.create_dataset(f"#refs#/image{i}", data=np.ascontiguousarray(image.T))
            cells[0, i] = stored.ref
        content[f"bboxes{end}"] = np.array(boxes, float).T
        points = np.array(points, float)
        phis = np.concatenate([points[:, :, 0], points[:, :, 1], np.array(occluded, float)], 1)
        content[f"phis{end}"] = phis.T
    return file


def write_aflw(root: Path, names: Sequence[str], boxes, points, visible, order: Sequence[int]) -> None:
    """AFLWinfo_release.mat; boxes are left, right, top, bottom; ``order`` is 1-based, training faces first."""
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    points = np.array(points, float)
    root.mkdir(parents=True, exist_ok=True)
    savemat(root / "AFLWinfo_release.mat", {
        "nameList": cells, "bbox": np.array(boxes, float), "data": np.concatenate([points[..., 0], points[..., 1]], 1),
        "mask_new": np.array(visible), "ra": np.array([order]),
    })  # fmt: skip


def real_faces(real_data: Path, name: str) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """The real faces of ``samples/cofw`` or ``samples/aflw``: files; (F, K, 2) points and (F, 4) x y w h, 0-based."""
    folder = real_data / "samples" / name
    content = json.loads((folder / f"test_{name}.json").read_text())
    files = {image["id"]: folder / image["file_name"] for image in content["images"]}
    faces = content["annotations"]
    points = np.array([np.reshape(face["keypoints"], (-1, 3))[:, :2] for face in faces])
    return [files[face["image_id"]] for face in faces], points, np.array([face["bbox"] for face in faces])


def write_boxes(file: Path, boxes: Mapping[str, Sequence[float]]) -> None:
    """300-W's official boxes: a cell array of structs; the numbers as they stand there, 1-based."""
    cells = np.empty((1, len(boxes)), dtype=object)
    for i, (name, box) in enumerate(boxes.items()):
        tight = np.array([[1.0, 2.0, 30.0, 40.0]])
        cells[0, i] = {"imgName": name, "bb_detector": np.array([box], dtype=float), "bb_ground_truth": tight}
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {"bounding_boxes": cells})


def face(path: Path, points=None, box=None, scheme=None, **kwargs):
    """A record with every landmark labelled, of 29 points unless a scheme is named."""
    from awing.data.records import Record  # not before the tests' shape checks are in place
    from awing.schemes import get_scheme

    scheme = scheme or get_scheme("cofw29")
    k = scheme.num_landmarks
    points = np.random.default_rng(0).uniform(10, 40, (k, 2)) if points is None else points
    return Record(path, points, np.ones(k, dtype=bool), None if box is None else np.array(box, float), **kwargs)
