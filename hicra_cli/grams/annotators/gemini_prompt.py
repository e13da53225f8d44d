"""The prompt's version by its old place."""

from .prompt import PROMPT_VERSION as PROMPT_VERSION
