"""Schemes of one's own: from YAML, by names or indices; mistakes are named."""

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from awing.errors import ConfigError
from awing.schemes import SCHEMES, Scheme, get_scheme, read_scheme

BIRD = """
name: bird
names: [left_eye, right_eye, beak, "été 4"]
flip_pairs: [[left_eye, right_eye]]
lines: [[left_eye, beak, right_eye]]
normalisers:
  inter_ocular: [left_eye, right_eye]
  face: [[left_eye, right_eye], beak]
groups: {eyes: [left_eye, right_eye]}
"""


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "my scheme.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_read_scheme_by_names_and_by_indices(tmp_path):
    expected = Scheme(
        "bird", ("left_eye", "right_eye", "beak", "été 4"), ((0, 1),), ((0, 2, 1),),
        {"inter_ocular": ((0,), (1,)), "face": ((0, 1), (2,))}, {"eyes": (0, 1)},
    )  # fmt: skip
    assert read_scheme(write(tmp_path, BIRD)) == expected
    assert read_scheme(write(tmp_path, b"\xef\xbb\xbf" + BIRD.encode())) == expected
    names = {name: str(i) for i, name in enumerate(expected.names)}
    text = BIRD
    for name, i in names.items():
        head, body = text.split("flip_pairs")
        text = head + "flip_pairs" + body.replace(name, i)
    assert "left_eye, right_eye]" not in text.split("flip_pairs")[1]
    assert read_scheme(write(tmp_path, text)) == expected


def test_read_scheme_needs_names_and_pairs_only(tmp_path):
    scheme = get_scheme(str(write(tmp_path, "names: [a, b]\nflip_pairs: []\n")))
    assert scheme == Scheme("my scheme", ("a", "b"), ())


@pytest.mark.parametrize("name", SCHEMES)
def test_get_scheme_of_a_schemes_values_gives_it_back(name, tmp_path):
    """As a checkpoint keeps them, and as YAML."""
    values = asdict(SCHEMES[name])
    assert get_scheme(values) == SCHEMES[name]
    plain = yaml.safe_dump(yaml.safe_load(str(values).replace("(", "[").replace(")", "]")))
    assert read_scheme(write(tmp_path, plain)) == SCHEMES[name]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("beak, right", "beek, right", r"lines\[0\]: a landmark is one of left_eye.* Did you mean 'beak'"),
        ("[[left_eye, right_eye]]\nl", "[[left_eye, 4]]\nl", r"indices \[4\] are outside 0\.\.3"),
        ("flip_pairs", "flip_pair", "expected a mapping with names and flip_pairs"),
        ("lines", "line", "found 'line'. Did you mean 'lines'"),
        ('names: [left_eye, right_eye, beak, "été 4"]', "names: left_eye", "names: expected a list, found 'left_eye'"),
        ("inter_ocular:", "box:", "box, box_diagonal, landmark_box come"),
        ("[[left_eye, right_eye], beak]", "[beak]", "a normaliser needs two ends"),
        ("[[left_eye, beak, right_eye]]", "[[left_eye, beak]]", "becomes .* under a flip"),
        (BIRD, "[1, 2]", r"expected a landmark scheme, found \[1, 2\]"),
        (BIRD, "a: [", "expected YAML"),
        (BIRD, "!!python/object/apply:os.system [false]", "expected YAML"),
    ],
)
def test_read_scheme_names_mistakes(tmp_path, before, after, message, unchecked):
    assert before in BIRD
    file = write(tmp_path, BIRD.replace(before, after, 1))
    with pytest.raises(ConfigError, match=rf"my scheme\.yaml: .*{message}"):
        read_scheme(file)


def test_read_scheme_refuses_numbers_that_are_names_and_indices(tmp_path):
    """A name counted from 1 is the index of the next landmark; counted from 0, or in quotes, it can only be one."""
    text = "names: [1, 2, 3]\nflip_pairs: [[1, 2]]\n"
    with pytest.raises(ConfigError, match=r"1 may be the name '1' or the index of another landmark; put quotes"):
        read_scheme(write(tmp_path, text))
    assert read_scheme(write(tmp_path, text.replace("[[1, 2]]", '[["1", "2"]]'))).flip_pairs == ((0, 1),)
    scheme = read_scheme(write(tmp_path, text.replace("[1, 2, 3]", "[0, 1, 2]")))
    assert scheme.flip_pairs == ((1, 2),)
    assert get_scheme(asdict(scheme)) == scheme


def test_read_scheme_of_a_missing_file():
    with pytest.raises(ConfigError, match=r"nowhere\.yaml, but it cannot be read: No such file"):
        get_scheme("nowhere.yaml")
