"""Schemes of one's own: from YAML, by names or indices; every mistake is named with its place."""

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def test_names_and_indices_mean_the_same(tmp_path):
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


def test_the_file_names_the_scheme_and_only_names_and_pairs_are_needed(tmp_path):
    scheme = get_scheme(str(write(tmp_path, "names: [a, b]\nflip_pairs: []\n")))
    assert scheme == Scheme("my scheme", ("a", "b"), ())


@pytest.mark.parametrize("name", SCHEMES)
def test_the_values_of_a_scheme_give_it_back(name, tmp_path):
    """As a checkpoint keeps them, and as YAML."""
    values = asdict(SCHEMES[name])
    assert get_scheme(values) == SCHEMES[name]
    plain = yaml.safe_dump(yaml.safe_load(str(values).replace("(", "[").replace(")", "]")))
    assert read_scheme(write(tmp_path, plain)) == SCHEMES[name]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("beak, right", "beek, right", r"lines\[0\]: expected one of the 4 landmarks .* Did you mean 'beak'"),
        ("[[left_eye, right_eye]]\nl", "[[left_eye, 4]]\nl", r"flip_pairs\[0\]: .* found 4"),
        ("[[left_eye, right_eye]]\nl", "[[left_eye, -1]]\nl", r"flip_pairs\[0\]: .* found -1"),
        ("[[left_eye, right_eye]]\nl", "[[left_eye, true]]\nl", r"flip_pairs\[0\]: .* found True"),
        ("[[left_eye, right_eye]]\nl", "[[left_eye]]\nl", r"flip_pairs\[0\]: expected two landmarks"),
        ("[[left_eye, right_eye]]\nl", "[left_eye, right_eye]\nl", r"flip_pairs\[0\]: expected two landmarks"),
        ("flip_pairs", "flip_pair", "found 'flip_pair'. Did you mean 'flip_pairs'"),
        ("flip_pairs: [[left_eye, right_eye]]", "", "flip_pairs: expected a list of pairs.* found nothing"),
        ("names: [left_eye", "names: [yes", r"names\[0\]: expected a name.* found True"),
        ("names: [left_eye", "names: ['${oc.env:HOME}'", r"names\[0\]: expected a name"),
        ("names: [left_eye", "names: [_target_", r"names\[0\]: expected a name"),
        ('"été 4"', "beak", "must be unique"),
        ('names: [left_eye, right_eye, beak, "été 4"]', "names: left_eye", "names: expected the landmarks' names"),
        ("inter_ocular:", "box:", "another name than box"),
        ("inter_ocular:", "_target_:", "normalisers: expected a name"),
        ("[[left_eye, right_eye], beak]", "[[], beak]", "needs landmarks at both ends"),
        ("[[left_eye, right_eye], beak]", "[beak]", r"normalisers\.face: expected two"),
        ("eyes:", "mean:", 'another name than "mean"'),
        ("[[left_eye, beak, right_eye]]", "[[left_eye, beak]]", "becomes .* under a flip"),
        ("[[left_eye, beak, right_eye]]", "[[beak]]", "at least two landmarks"),
        ("[[left_eye, beak, right_eye]]", "3", "lines: expected a list of lines, found 3"),
        ("{eyes: [left_eye, right_eye]}", "[eyes]", "groups: expected names"),
        (BIRD, "[1, 2]", "expected a mapping with name, names"),
        (BIRD, "", "expected a mapping .* found nothing"),
        (BIRD, "a: [", "expected YAML"),
        (BIRD, "[" * 5000, "expected YAML"),
        (BIRD, "!!python/object/apply:os.system [false]", "expected YAML"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, before, after, message):
    assert before in BIRD
    file = write(tmp_path, BIRD.replace(before, after, 1))
    with pytest.raises(ConfigError, match=rf"my scheme\.yaml.*{message}"):
        read_scheme(file)


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml, but it cannot be read: No such file"):
        get_scheme(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(ConfigError, match=r"my scheme\.yaml: expected YAML"):
        read_scheme(write(tmp_path, b"names: [\xff\xfe]"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.sampled_from(["a", "b", "c", "_target_", "${x}", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "box", "x", "name"]), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["name", "names", "flip_pairs", "lines", "normalisers", "groups"]), VALUES))
def test_any_values_are_a_scheme_or_refused(values):
    values = {"name": "any", "names": ["a", "b", "c"], "flip_pairs": []} | values
    try:
        scheme = get_scheme(values)
    except ConfigError as error:
        assert "the landmark scheme" in str(error)
    else:
        assert get_scheme(asdict(scheme)) == scheme


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.floats(0, 1), length=st.integers(0, 30), noise=st.binary(max_size=12) | st.text(max_size=6).map(str.encode)
)
def test_a_damaged_file_is_a_scheme_or_names_itself(tmp_path, at, length, noise):
    content = BIRD.encode()
    start = int(at * len(content))
    file = write(tmp_path, content[:start] + noise + content[start + length :])
    try:
        scheme = read_scheme(file)
    except ConfigError as error:
        assert str(error).startswith(f"{file}: ")
    else:
        assert get_scheme(asdict(scheme)) == scheme
