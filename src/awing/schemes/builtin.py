"""The schemes of the paper's five data sets, as data."""

from awing.schemes.scheme import Indices, Scheme


def _numbered(**parts: int) -> tuple[str, ...]:
    return tuple(f"{part}_{i}" for part, count in parts.items() for i in range(count))


def _mirror(*runs: tuple[Indices, Indices]) -> tuple[tuple[int, int], ...]:
    return tuple(pair for left, right in runs for pair in zip(left, right, strict=True))


def _span(first: int, last: int) -> Indices:
    step = 1 if last >= first else -1
    return tuple(range(first, last + step, step))


# "left" and "right" are the image's, as a viewer sees an upright frontal face.
WFLW98 = Scheme(
    name="wflw98",
    names=_numbered(
        contour=33, left_brow=9, right_brow=9, nose_ridge=4, nose_bottom=5,
        left_eye=8, right_eye=8, outer_lip=12, inner_lip=8, left_pupil=1, right_pupil=1,
    ),
    flip_pairs=_mirror(
        (_span(0, 15), _span(32, 17)),
        (_span(33, 37), _span(46, 42)),
        (_span(38, 41), _span(50, 47)),
        ((55, 56), (59, 58)),
        (_span(60, 64), _span(72, 68)),
        (_span(65, 67), _span(75, 73)),
        (_span(76, 78), _span(82, 80)),
        ((86, 87), (84, 83)),
        ((88, 89), (92, 91)),
        ((95,), (93,)),
        ((96,), (97,)),
    ),
    lines=(
        _span(0, 32), _span(33, 37), _span(42, 46),
        _span(60, 64), (60, 67, 66, 65, 64), _span(68, 72), (68, 75, 74, 73, 72),
        _span(51, 54), _span(55, 59),
        _span(76, 82), _span(88, 92), (76, 87, 86, 85, 84, 83, 82), (88, 95, 94, 93, 92),
    ),
    normalisers={"inter_ocular": ((60,), (72,)), "inter_pupil": ((96,), (97,))},
)  # fmt: skip

IBUG68 = Scheme(
    name="ibug68",
    names=_numbered(
        contour=17, left_brow=5, right_brow=5, nose_ridge=4, nose_bottom=5,
        left_eye=6, right_eye=6, outer_lip=12, inner_lip=8,
    ),
    flip_pairs=_mirror(
        (_span(0, 7), _span(16, 9)),
        (_span(17, 21), _span(26, 22)),
        ((31, 32), (35, 34)),
        (_span(36, 39), _span(45, 42)),
        ((40, 41), (47, 46)),
        ((48, 49, 50), (54, 53, 52)),
        ((59, 58), (55, 56)),
        ((60, 61), (64, 63)),
        ((67,), (65,)),
    ),
    lines=(
        _span(0, 16), _span(17, 21), _span(22, 26),
        _span(36, 39), (36, 41, 40, 39), _span(42, 45), (42, 47, 46, 45),
        _span(27, 30), _span(31, 35),
        _span(48, 54), _span(60, 64), (48, 59, 58, 57, 56, 55, 54), (60, 67, 66, 65, 64),
    ),
    normalisers={"inter_ocular": ((36,), (45,)), "inter_pupil": (_span(36, 41), _span(42, 47))},
)  # fmt: skip

COFW29 = Scheme(
    name="cofw29",
    names=(
        "left_brow_outer", "right_brow_outer", "left_brow_inner", "right_brow_inner",
        "left_brow_top", "left_brow_bottom", "right_brow_top", "right_brow_bottom",
        "left_eye_outer", "right_eye_outer", "left_eye_inner", "right_eye_inner",
        "left_eye_top", "left_eye_bottom", "right_eye_top", "right_eye_bottom",
        "left_pupil", "right_pupil", "nose_left", "nose_right", "nose_tip", "nose_bottom",
        "mouth_left", "mouth_right", "upper_lip_top", "upper_lip_bottom", "lower_lip_top", "lower_lip_bottom",
        "chin",
    ),
    flip_pairs=(
        (0, 1), (2, 3), (4, 6), (5, 7), (8, 9), (10, 11), (12, 14), (13, 15), (16, 17), (18, 19), (22, 23),
    ),
    lines=(
        (0, 4, 2), (0, 5, 2), (1, 6, 3), (1, 7, 3),
        (8, 12, 10), (8, 13, 10), (9, 14, 11), (9, 15, 11),
        (18, 21, 19), (22, 24, 23), (22, 25, 23), (22, 26, 23), (22, 27, 23),
    ),
    normalisers={"inter_pupil": ((16,), (17,)), "inter_ocular": ((8,), (9,))},
)  # fmt: skip

AFLW19 = Scheme(
    name="aflw19",
    names=_numbered(left_brow=3, right_brow=3, left_eye=3, right_eye=3, nose=3, mouth=3, chin=1),
    flip_pairs=_mirror(
        ((0, 1, 2), (5, 4, 3)),
        ((6, 7, 8), (11, 10, 9)),
        ((12, 15), (14, 17)),
    ),
    lines=(_span(0, 2), _span(3, 5), _span(6, 8), _span(9, 11), _span(12, 14)),
)

LSP14 = Scheme(
    name="lsp14",
    names=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
        "neck", "head_top",
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
    normalisers={"torso": ((9,), (2,))},
    groups={
        "head": (12, 13), "shoulder": (8, 9), "elbow": (7, 10), "wrist": (6, 11),
        "hip": (2, 3), "knee": (1, 4), "ankle": (0, 5),
    },
)  # fmt: skip
