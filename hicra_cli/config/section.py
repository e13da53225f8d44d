"""The base of every configuration section: frozen, unknown keys refused, defaults validated."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section. A field's description is its documentation of record; bounds live in the field."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
