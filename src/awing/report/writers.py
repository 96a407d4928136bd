"""One list of blocks as Markdown and as one HTML page that needs nothing from elsewhere."""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader


@dataclass(frozen=True)
class Block:
    """A heading (``text`` and ``level``, 2 or 3), a paragraph (``text``), a table, or pictures (file, caption)."""

    text: str = ""
    level: int = 0
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figures: Sequence[tuple[Path, str]] = ()


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as Markdown; pictures are linked from ``figures/`` beside it.

    >>> print(markdown("Runs", [Block(header=["run", "NME %"], rows=[["a|b", "4.21"]])]))
    # Runs
    <BLANKLINE>
    | run | NME % |
    |---|---|
    | a\\|b | 4.21 |
    <BLANKLINE>
    """
    parts = [f"# {_plain(title)}"]
    for block in blocks:
        if block.text:
            parts.append(f"{'#' * block.level} {_plain(block.text)}".strip())
        elif block.header:
            lines = [f"| {' | '.join(map(_plain, row))} |" for row in (block.header, *block.rows)]
            parts.append("\n".join([lines[0], "|---" * len(block.header) + "|", *lines[1:]]))
        else:
            parts += [f"![{_plain(caption)}](figures/{file.name})" for file, caption in block.figures]
    return "\n\n".join(parts) + "\n"


def page(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as one HTML page with the pictures inside; whatever stands in a text is shown as text."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template("page.html").render(title=title, blocks=blocks, picture=_inlined)


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return re.sub(r"[\\|*`\[\]#~$]|\b_|_\b", r"\\\g<0>", html.escape(" ".join(text.split()), quote=False))


def _inlined(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
