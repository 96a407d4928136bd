"""Functions as commands."""

import sys

import pytest

from awing.errors import ConfigError
from awing.inference.predict import call_with_options


def example(input: str, boxes: str | None = None, pts: bool = False, size: int = 1, limit: float = 0.5) -> tuple:
    """Usage: example input=PATH."""
    return input, boxes, pts, size, limit


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["input=a"], ("a", None, False, 1, 0.5)),
        (["input=a=b, c [1].jpg", "boxes=*.csv"], ("a=b, c [1].jpg", "*.csv", False, 1, 0.5)),
        (["input=007", "pts=true", "size=16", "limit=0"], ("007", None, True, 16, 0.0)),
    ],
)
def test_options_become_arguments(monkeypatch, words, expected):
    monkeypatch.setattr(sys, "argv", ["example", *words])
    assert call_with_options(example) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photo.jpg"], "expected key=value, the key one of input, boxes, .*; found 'photo.jpg'"),
        (["inptu=a"], "the key one of input, boxes, .*; found 'inptu=a'"),
        (["input="], "expected key=value, .*; found 'input='"),
        (["pts=true"], "missing a required argument: 'input'; see --help"),
        (["input=a", "pts=yes"], "pts: expected true or false, found 'yes'"),
        (["input=a", "size=1.5"], "size: expected int, found '1.5'"),
        (["input=a", "limit=much"], "limit: expected float, found 'much'"),
    ],
)
def test_wrong_options_end_in_a_sentence(monkeypatch, words, message):
    monkeypatch.setattr(sys, "argv", ["example", *words])
    with pytest.raises(ConfigError, match=message):
        call_with_options(example)


@pytest.mark.parametrize("words", [[], ["--help"], ["input=a", "-h"]])
def test_help_is_the_docstring(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["example", *words])
    with pytest.raises(SystemExit) as ended:
        call_with_options(example)
    assert not ended.value.code
    assert capsys.readouterr().out == "Usage: example input=PATH.\n"
