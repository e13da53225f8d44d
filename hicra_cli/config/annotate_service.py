"""annotate-grams by a language model: which service, how it is asked, and what it may cost."""

from pydantic import Field

from hicra_cli.config.section import Section


class ServiceConfig(Section):
    """What gemini and openai share."""

    batch_size: int = Field(40, ge=1, le=500, description="Grams per request.")
    concurrency: int = Field(4, ge=1, le=64, description="Requests in flight.")
    requests_per_minute: int | None = Field(None, ge=1, description="Send no more requests per minute than this.")
    max_attempts: int = Field(5, ge=1, le=20, description="Attempts per request before it is given up.")
    timeout_s: float = Field(120.0, gt=0, description="Deadline of one request in seconds.")
    retry_budget_s: float = Field(900.0, gt=0, description="Total seconds that waiting for retries may take.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    max_cost: float | None = Field(
        None, ge=0, description="Stop before the run has cost more than this many US dollars."
    )
    input_price: float | None = Field(
        None, ge=0, description="US dollars per million input tokens, where the model's price is not known to hicra."
    )
    output_price: float | None = Field(
        None, ge=0, description="US dollars per million output tokens, where the model's price is not known to hicra."
    )


class GeminiConfig(Section):
    model: str = Field("gemini-2.5-flash", description="Model name; the paper used Gemini-2.5.")
    base_url: str | None = Field(None, description="Another endpoint that speaks the Gemini API.")
    batch_api: bool = Field(False, description="Use the Batch API: half the price, answers within a day.")


class OpenAIConfig(Section):
    model: str | None = Field(None, description="Model name, as the server lists it.")
    base_url: str = Field(
        "https://api.openai.com/v1", description="The server; a local vLLM is http://127.0.0.1:8000/v1."
    )
