"""Keys of external services: read from the environment when they are used, stored and shown nowhere."""

import os
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A key and the variable it came from; only the variable's name is ever shown."""

    variable: str
    secret: str = field(repr=False)


def service_key(*variables: str) -> ServiceKey | None:
    """The first of the named environment variables that is set to something, else None."""
    for variable in variables:
        if secret := os.environ.get(variable, "").strip():
            return ServiceKey(variable, secret)
    return None
