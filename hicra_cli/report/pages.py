"""The template environment of all pages: text is escaped unless it is marked as ours, a missing name is an error."""

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def page_environment(**filters: Callable[..., Any]) -> Environment:
    """Templates of `report/templates`, with these filters."""
    environment = Environment(
        loader=PackageLoader("hicra_cli.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment
