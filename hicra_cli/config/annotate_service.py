"""annotate-grams by a language model: which service, how it is asked, and what it may cost."""

from pydantic import Field, field_validator, model_validator

from hicra_cli.config.section import Section


def _is_address(url: str | None) -> bool:
    return url is None or url.startswith(("http://", "https://"))


class ServiceConfig(Section):
    """What gemini and openai share."""

    batch_size: int = Field(40, ge=1, le=500, description="Grams per request.")
    concurrency: int = Field(4, ge=1, le=64, description="Requests in flight.")
    requests_per_minute: int | None = Field(None, ge=1, description="Send no more requests per minute than this.")
    max_attempts: int = Field(
        5,
        ge=1,
        le=20,
        description="Failed attempts per request before it is given up; being told to slow down is none.",
    )
    timeout_s: float = Field(120.0, gt=0, description="Deadline of one request in seconds.")
    retry_budget_s: float = Field(900.0, gt=0, description="Total seconds that waiting for retries may take.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    canaries: int = Field(
        2,
        ge=0,
        le=4,
        description="Control items with known answers in each request; a request that misjudges one is thrown away. "
        "Fewer only for a small local model that fails them.",
    )
    max_output_tokens: int | None = Field(
        None,
        ge=256,
        description="Longest answer in tokens, a model's thoughts included; a longer one is asked in smaller requests. "
        "--max-cost reserves this much for each request in flight. Unset: the service's own limit, or 32768 with "
        "--max-cost.",
    )
    max_cost: float | None = Field(
        None, ge=0, description="Stop before the run has cost more than this many US dollars."
    )
    input_price: float | None = Field(
        None, ge=0, description="US dollars per million input tokens, where the model's price is not known to hicra."
    )
    output_price: float | None = Field(
        None, ge=0, description="US dollars per million output tokens, where the model's price is not known to hicra."
    )

    @model_validator(mode="after")
    def _whole_price(self) -> "ServiceConfig":
        if (self.input_price is None) != (self.output_price is None):
            raise ValueError("input_price and output_price are needed together")
        return self


class GeminiConfig(Section):
    model: str = Field("gemini-2.5-flash", min_length=1, description="Model name; the paper used Gemini-2.5.")
    base_url: str | None = Field(None, description="Another endpoint that speaks the Gemini API.")
    batch_api: bool = Field(False, description="Use the Batch API: half the price, answers within a day.")

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if not _is_address(url):
            raise ValueError("an address starts with http:// or https://")
        return url


class OpenAIConfig(Section):
    model: str | None = Field(None, description="Model name, as the server lists it.")
    base_url: str = Field(
        "https://api.openai.com/v1", description="The server; a local vLLM is http://127.0.0.1:8000/v1."
    )

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not _is_address(url):
            raise ValueError("an address starts with http:// or https://")
        return url
