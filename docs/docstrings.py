"""Extensions of mkdocs: docstrings in Sphinx's markup as Markdown, and formulas as MathML, which needs no script."""

import html
import re

import griffe
from latex2mathml.converter import convert

ROLE = re.compile(r":(func|class|meth|attr|data|mod):`~?([^`]+)`")
INLINE_MATH = re.compile(r":math:`([^`]+)`")
MATH_BLOCK = re.compile(r"^( *)\.\. math::\n((?:\1 +.*\n|\n)+)", re.MULTILINE)
DOCTEST = re.compile(r"^( *)>>> .*\n(?:\1\S.*\n)*", re.MULTILINE)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


class SphinxMarkup(griffe.Extension):
    """Make ``:func:`name``` a link, ``:math:`` and ``.. math::`` formulas, doctests code."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Change the docstring of an object that was read from the source."""
        if obj.docstring:
            text = MATH_BLOCK.sub(lambda m: f"{m[1]}$$\n{m[2].strip()}\n{m[1]}$$\n\n", obj.docstring.value + "\n")
            text = DOCTEST.sub(lambda m: f"{m[1]}```pycon\n{m[0]}{m[1]}```\n", text)
            text = INLINE_MATH.sub(lambda m: f"${' '.join(m[1].split())}$", text)
            obj.docstring.value = ROLE.sub(_link, text).replace("Example:\n", "Examples:\n")


def on_page_content(content: str, **_: object) -> str:
    """Write each formula of a page as MathML; mkdocs calls this."""
    return FORMULA.sub(
        lambda m: convert(html.unescape(m[2]).strip(), display="block" if m[1] == "div" else "inline"), content
    )


def _link(match: re.Match[str]) -> str:
    role, path = match.groups()
    linked = path.startswith("awing.") and role not in ("attr", "data")  # those have no place of their own on a page
    return f"[`{path.rpartition('.')[2]}`][{path}]" if linked else f"`{path}`"
