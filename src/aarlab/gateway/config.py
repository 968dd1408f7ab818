"""What the operator decides about model calls: which models, whose API, and what they may cost."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from aarlab.core.budget import Budget
from aarlab.core.errors import Misconfigured
from aarlab.core.records import Record

ProviderName = Literal["anthropic", "openai", "google"]
# no user, no closing slash
Url = Annotated[str, Field(pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*[^/?#\s])?$", max_length=500)]
# a server of one's own may have names such as Qwen/Qwen3-8B, or a path
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9/][A-Za-z0-9._:/@+-]{0,199}$")]
Dollars = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class TokenPrices(Record):
    """Dollars for a million tokens; 0 where they cost nothing. Input that is read from a cache, or
    written to one, costs as other input where no price of its own is stated."""

    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None


class Provider(Record):
    """A model API: whose wire format it speaks, and where it is."""

    name: ProviderName
    url: Url
    proxy: Url | None = None  # through which it is reached
    # of a server of the operator's own, which may need no key; None: list prices
    prices: TokenPrices | None = None
    certificates: str | None = None  # a PEM file of the authorities that TLS is checked by


def _server_url(said: str) -> str:
    """Without a closing slash and /v1, which the gateway adds; raises ValueError for no URL."""
    found = said.rstrip("/").removesuffix("/v1")
    if not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*[^/?#\s])?", found) or len(found) > 500:
        raise ValueError(
            f"{said[:200]!r} is no address of a server. Write http://HOST:PORT, without a user, a "
            "key or a parameter"
        )
    return found


class ModelServer(Record):
    """A model server of the operator's own (vLLM, llama.cpp, Ollama, ...): where it is, and what
    its tokens cost."""

    base_url: Annotated[str, AfterValidator(_server_url)]
    prices: TokenPrices
    # the environment variable that has its key; None: it wants none
    key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")] | None = None
    certificates: str | None = None  # a PEM file, where its certificate is signed by one's own CA


class Budgets(Record):
    """Of each researcher, and of all together. Without a limit: for tests and local models."""

    researcher_budget: Budget = Budget()
    campaign_budget: Budget = Budget()


class GatewayConfig(Budgets):
    """One campaign's."""

    models: tuple[ModelName, ...] = ()  # that may be called; none: only the lab can be reached
    providers: tuple[Provider, ...] = ()


def read_config(path: Path) -> GatewayConfig:
    """The configuration in a JSON file.

    Raises:
        Misconfigured: there is none, or a field is unknown or out of range; or two providers speak
            the same wire format.
    """
    try:
        config = GatewayConfig.model_validate_json(path.read_text())
    except FileNotFoundError as error:
        raise Misconfigured(
            f"{path} does not exist. Write the gateway's configuration there."
        ) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'all'}: {e['msg']}" for e in error.errors()
        )
        raise Misconfigured(f"{path}: {problems}. Correct the configuration.") from error
    names = [provider.name for provider in config.providers]
    if len(names) != len(set(names)):
        raise Misconfigured(
            f"{path}: a provider is named twice ({', '.join(names)}). Name each once."
        )
    return config
