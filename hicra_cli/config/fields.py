"""The configuration tree seen as dotted paths: which exist, what they hold, which known one is nearest to a typo."""

import difflib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from hicra_cli.config.root import HicraConfig
from hicra_cli.config.section import Section


def field_at(path: str) -> FieldInfo | None:
    """The field of a dotted path such as `train.alpha`, or None. Keys below a dict field have no field of their own."""
    section: type[Section] | None = HicraConfig
    found: FieldInfo | None = None
    for part in path.split("."):
        if section is None or part not in section.model_fields:
            return None
        found = section.model_fields[part]
        section = section_of(found.annotation)
    return found


def section_of(annotation: Any) -> type[Section] | None:
    """The section class where the annotation is one, else None."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def leaf_paths(section: type[Section] = HicraConfig, prefix: str = "") -> Iterator[str]:
    """Every dotted path that holds a value, in the order of the classes."""
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None:
            yield prefix + name
        else:
            yield from leaf_paths(inner, f"{prefix}{name}.")


def nearest_path(path: str) -> str | None:
    """The known path a user most likely meant: same section and similar name, else the same last name elsewhere."""
    known = [*leaf_paths(), *(name for name, field in HicraConfig.model_fields.items() if section_of(field.annotation))]
    if close := difflib.get_close_matches(path, known, n=1, cutoff=0.75):
        return close[0]
    parent, _, last = path.rpartition(".")
    siblings = {each.rpartition(".")[2]: each for each in known if each.rpartition(".")[0] == parent}
    anywhere = {each.rpartition(".")[2]: each for each in reversed(known)}
    for names in (siblings, anywhere):
        if close := difflib.get_close_matches(last, names, n=1, cutoff=0.6):
            return names[close[0]]
    return None


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union without None; a tuple of one for anything else."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(each for each in get_args(annotation) if each is not type(None))
    return (annotation,)


def is_optional(annotation: Any) -> bool:
    """Whether None is allowed."""
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def is_text(annotation: Any) -> bool:
    """Whether text given by a user is meant literally: strings, paths and choices of words."""
    return all(
        each in (str, Path)
        or (get_origin(each) is Literal and all(isinstance(choice, str) for choice in get_args(each)))
        for each in members(annotation)
    )


def item_of(annotation: Any) -> Any | None:
    """What a list field is a list of; None where the field is no list."""
    for each in members(annotation):
        if get_origin(each) is list:
            return get_args(each)[0]
    return None


def is_mapping(annotation: Any) -> bool:
    """Whether the field is a dict with keys of the user's choice."""
    return any(get_origin(each) is dict for each in members(annotation))
