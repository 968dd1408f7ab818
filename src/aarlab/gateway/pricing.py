"""Dollars of model calls at list prices: the most that one can cost before it is sent, and what it
took by its usage."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice
from genai_prices.types import Provider as Tariff

from aarlab.core.errors import Misconfigured
from aarlab.gateway.admission import Reserve
from aarlab.gateway.config import GatewayConfig, ProviderName, TokenPrices
from aarlab.gateway.journal_rows import Taken

# of input
_KINDS = (
    (),
    ("cache_read_tokens",),
    ("cache_write_tokens",),
    ("cache_write_tokens", "cache_write_1h_tokens"),
)
# models that search by themselves, or whose answers are not text: they cost what tokens do not say
_BEYOND_TOKENS = re.compile(
    r"(^|[-.])(search|deep-research|computer-use|image|nano-banana|audio|realtime|live|tts|"
    r"transcribe|whisper|embedding|omni)([-.]|$)"
)


@dataclass(frozen=True)
class Price:
    """What one model costs at one provider. Prices that rise beyond a number of tokens, or with a
    date, are seen to."""

    tariff: Tariff
    model: ModelInfo

    def usd(self, **tokens: int) -> float:
        """Dollars of these tokens; `input_tokens` is all input, of which others are parts
        (`cache_read_tokens`, ...)."""
        return float(self.model.calc_price(Usage(**tokens), self.tariff).total_price)

    def most(self, input_tokens: int, output_tokens: int) -> Reserve:
        """The most that so many tokens can cost: as if all input were of the dearest kind (for
        most, written to a cache)."""
        usd = max(
            self.usd(
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                **dict.fromkeys(parts, input_tokens),
            )
            for parts in self._dearest
        )
        return Reserve(input_tokens + output_tokens, usd)

    @cached_property
    def _dearest(self) -> set[tuple[str, ...]]:
        """The kinds of input that are the dearest of a short prompt, and of one that is long enough
        for every rise."""
        return {
            max(_KINDS, key=lambda parts: self.usd(input_tokens=size, **dict.fromkeys(parts, size)))
            for size in (1, 10_000_000)
        }

    def taken(self, answer: Mapping[str, Any], flavor: str) -> Taken:
        """By an answer's own usage; `flavor` is the API's, in genai-prices' words.

        Raises:
            ValueError: the answer has none, or one that contradicts itself.
        """
        self._check_counts(answer, flavor)
        try:
            _, usage = self.tariff.extract_usage(answer, api_flavor=flavor)
            write, read = int(usage.cache_write_tokens), int(usage.cache_read_tokens)
            taken = Taken(
                int(usage.input_tokens) - write - read, write, read, int(usage.output_tokens), 0.0
            )
            if min(taken.input_tokens, write, read, taken.output_tokens) < 0:
                raise ValueError("a part is larger than the whole")  # of the input
            return replace(taken, usd=float(self.model.calc_price(usage, self.tariff).total_price))
        except (ValueError, TypeError, ArithmeticError) as error:
            raise ValueError("the answer's usage is not complete, or contradicts itself") from error

    def _check_counts(self, answer: Mapping[str, Any], flavor: str) -> None:
        """Raises ValueError where what should be a count of tokens is something else."""
        for extractor in self.tariff.extractors or ():
            if extractor.api_flavor == flavor and isinstance(extractor.root, str):
                for mapping in extractor.mappings:
                    count = answer.get(extractor.root)
                    for name in [mapping.path] if isinstance(mapping.path, str) else mapping.path:
                        count = (
                            count.get(name)
                            if isinstance(count, Mapping) and isinstance(name, str)
                            else None
                        )
                    if count is not None and (type(count) is not int or count < 0):
                        raise ValueError("the answer's usage has a count of tokens that is none")


def stated_price(provider: ProviderName, model: str, stated: TokenPrices) -> Price:
    """The price of a model of the operator's own server, whose answers count tokens as that
    provider's do."""
    read, write = (
        stated.input if price is None else price
        for price in (stated.cache_read, stated.cache_write)
    )
    mtok = {"input": stated.input, "output": stated.output}
    mtok |= {"cache_read": read, "cache_write": write}
    priced = ModelPrice(**{f"{kind}_mtok": Decimal(str(usd)) for kind, usd in mtok.items()})
    tariff = get_snapshot().find_provider(None, provider, None)
    return Price(tariff, ModelInfo(id=model, match=ClauseEquals(model), prices=priced))


def prices(config: GatewayConfig) -> dict[tuple[ProviderName, str], Price]:
    """The price of every listed model, by provider and name.

    Raises:
        Misconfigured: a model has no known price at any of the configured providers, or is one that
            searches by itself or answers with pictures or sound; nobody could hold it to a budget.
    """
    found: dict[tuple[ProviderName, str], Price] = {}
    own = [(provider, stated) for provider in config.providers if (stated := provider.prices)]
    for name in config.models:
        if own:
            found |= {(p.name, name): stated_price(p.name, name, stated) for p, stated in own}
            continue
        if _BEYOND_TOKENS.search(name):
            raise Misconfigured(
                f"The model {name!r} searches by itself, or answers with more than text: what it "
                "costs is not known from its tokens. List another model.",
                model=name,
            )
        for provider in config.providers:
            tariff = get_snapshot().find_provider(None, provider.name, None)
            model = tariff.find_model(name)
            if model is not None and Price(tariff, model).usd(input_tokens=1, output_tokens=1) > 0:
                found[provider.name, name] = Price(tariff, model)
        if not any(listed == name for _, listed in found):
            where = ", ".join(provider.name for provider in config.providers) or "no provider"
            raise Misconfigured(
                f"The price of {name!r} is unknown (at {where}). List a model that genai-prices "
                "knows, or bring it up to date.",
                model=name,
            )
    return found
