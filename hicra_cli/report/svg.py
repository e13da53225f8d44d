"""The primitives of all figures: a frame that maps values to places, elements that escape, the SVG document.

Colours are CSS variables of `templates/figure.css` (planning, execution, run-0 …), so that one drawing follows a
light or a dark page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a panel lies in its figure, in user units, and how values map to it."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def svg_document(body: Sequence[str], *, name: str, width: int, height: int, title: str, description: str) -> str:
    """A drawing with a title and a description for those who cannot see it; `name` is unique in its page."""
    words = element("title", escape(title), id=f"{name}-t") + element("desc", escape(description), id=f"{name}-d")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure" role="img" viewBox="0 0 {width} {height}" '
        f'aria-labelledby="{name}-t {name}-d">{words}{"".join(body)}</svg>'
    )


def element(tag: str, content: str = "", /, *, colour: str = "", css: str = "", **attributes: float | str) -> str:
    """One SVG element. Attribute values are escaped and numbers rounded; `content` is markup, so escape text in it.

    An underscore in an attribute's name stands for a hyphen.
    """
    parts = [f' class="{escape(css)}"'] if css else []
    if colour:
        parts.append(f' style="--c:var(--{escape(colour)})"')
    for name, value in attributes.items():
        shown = value if isinstance(value, str) else coordinate(value)
        parts.append(f' {name.replace("_", "-")}="{escape(shown)}"')
    return f"<{tag}{''.join(parts)}>{content}</{tag}>" if content else f"<{tag}{''.join(parts)}/>"


def coordinate(value: float) -> str:
    """A coordinate with one decimal: enough for the eye, small in the file."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def standalone(svg: str) -> str:
    """The same drawing as a file of its own, with its style inside."""
    head, tail = svg.split(">", 1)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}><style>{figure_css()}</style>{tail}\n'


def figure_css() -> str:
    """Colours and type of all figures, light and dark."""
    return files("hicra_cli.report").joinpath("templates/figure.css").read_text(encoding="utf-8")
