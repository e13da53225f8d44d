"""What a token costs: list prices of well-known models, or the user's own.

Standard prices for text in US dollars per million tokens (prompts of up to 200,000 tokens), thoughts billed as output.
Sources: Google's price list (https://ai.google.dev/gemini-api/docs/pricing) and OpenAI's
(https://platform.openai.com/docs/pricing) as quoted by public price comparisons between March and mid 2026; read in
November 2026. Prices change: `annotate.service.input_price` and `output_price` overrule the table.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from hicra_cli.config.annotate_service import ServiceConfig

MILLION = 1_000_000
BATCH_DISCOUNT = 0.5


@dataclass(frozen=True, slots=True)
class Usage:
    """Billed tokens of one answer; thoughts are output."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float

    def of(self, usage: Usage) -> float:
        """US dollars."""
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / MILLION

    def discounted(self, factor: float) -> "Price":
        """The price times a factor."""
        return Price(self.input * factor, self.output * factor)


PRICES: dict[str, dict[str, Price]] = {
    "gemini": {
        "gemini-3.5-flash": Price(1.50, 9.00),
        "gemini-3.1-pro": Price(2.00, 12.00),
        "gemini-3.1-flash-lite": Price(0.25, 1.50),
        "gemini-3-pro": Price(2.00, 12.00),
        "gemini-3-flash": Price(0.50, 3.00),
        "gemini-2.5-pro": Price(1.25, 10.00),
        "gemini-2.5-flash": Price(0.30, 2.50),
        "gemini-2.5-flash-lite": Price(0.10, 0.40),
    },
    "openai": {
        "gpt-5.4": Price(2.50, 15.00),
        "gpt-5.1": Price(1.25, 10.00),
        "gpt-5": Price(1.25, 10.00),
        "gpt-5-mini": Price(0.25, 2.00),
        "gpt-5-nano": Price(0.05, 0.40),
        "gpt-4.1": Price(2.00, 8.00),
        "gpt-4.1-mini": Price(0.40, 1.60),
        "gpt-4.1-nano": Price(0.10, 0.40),
        "gpt-4o": Price(2.50, 10.00),
        "gpt-4o-mini": Price(0.15, 0.60),
        "o3": Price(2.00, 8.00),
        "o4-mini": Price(1.10, 4.40),
    },
}
# A price list holds at its owner's address only: another server that names a model alike has its own.
HOSTS = {"gemini": "generativelanguage.googleapis.com", "openai": "api.openai.com"}

# A dated or preview name costs what its family costs: gpt-5-mini-2025-08-07, gemini-3-flash-preview-09-2025.
_SUFFIX = re.compile(r"(-preview(-\d{2}-\d{4})?|-\d{4}-\d{2}-\d{2}|-00\d)$")


def price_of(name: str, model: str, address: str, config: ServiceConfig) -> Price | None:
    """The user's own price, else the list's; None where neither is known."""
    if config.input_price is not None and config.output_price is not None:
        return Price(config.input_price, config.output_price)
    if urlsplit(address).hostname != HOSTS[name]:
        return None
    family = model.removeprefix("models/")
    return PRICES[name].get(family) or PRICES[name].get(_SUFFIX.sub("", family))
