"""Spends of the ledger, added up: machine, devices and model apart; what has no known price is
counted, never taken as 0."""

from collections import Counter, defaultdict
from typing import Literal

from aarlab.core.budget import Spent
from aarlab.core.entries import SpendBody
from aarlab.core.operator_records import ModelCall

TokenKind = Literal["input", "cache_write", "cache_read", "output"]
TOKEN_KINDS: tuple[TokenKind, ...] = ("input", "cache_write", "cache_read", "output")


class Tally:
    """What somebody spent."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0
        self.device_s = 0.0
        # of what has a known price
        self.machine_usd = self.model_usd = self.device_usd = 0.0
        self.unpriced_device_s = 0.0
        # of the machine; without price, without processor
        self.charges = self.unpriced_charges = self.unmeasured_charges = 0
        self.calls: Counter[str] = Counter()  # by model
        self.unpriced: Counter[str] = Counter()  # calls without a known price, by model
        self.interrupted_calls = 0
        self.tokens: Counter[tuple[str, TokenKind]] = Counter()  # by model and kind
        # of calls whose price is known
        self.usd_by_model: defaultdict[str, float] = defaultdict(float)

    def add(self, spend: SpendBody) -> None:
        """Count one spend."""
        self.wall_s += spend.wall_s
        self.cpu_s += spend.cpu_s
        if spend.call is not None:
            self._add_call(spend.call, spend.usd)
            return
        if spend.device_s:
            self.device_s += spend.device_s
            self.unpriced_device_s += spend.device_s if spend.usd is None else 0.0
            self.device_usd += spend.usd or 0.0
            return
        self.charges += 1
        self.unmeasured_charges += not spend.measured
        self.unpriced_charges += spend.usd is None
        self.machine_usd += spend.usd or 0.0

    def _add_call(self, call: ModelCall, usd: float | None) -> None:
        model = call.model
        self.calls[model] += 1
        self.unpriced[model] += usd is None
        self.interrupted_calls += call.interrupted
        self.model_usd += usd or 0.0
        self.usd_by_model[model] += usd or 0.0
        for kind in TOKEN_KINDS:
            self.tokens[model, kind] += getattr(call, f"{kind}_tokens")

    @property
    def spent(self) -> Spent:
        """In the budget's terms: dollars are what is known."""
        return Spent(
            wall_s=self.wall_s,
            cpu_s=self.cpu_s,
            tokens=sum(self.tokens.values()),
            device_s=self.device_s,
            usd=self.machine_usd + self.model_usd + self.device_usd,
        )

    @property
    def machine(self) -> bool:
        """Whether it used the machine or a device."""
        return bool(self.charges or self.device_s)

    @property
    def unpriced_calls(self) -> int:
        """Calls without a known price."""
        return self.unpriced.total()

    @property
    def model_cost(self) -> float | None:
        """Dollars of model calls; None if the price of one is not known."""
        return None if self.unpriced_calls else self.model_usd

    @property
    def machine_cost(self) -> float | None:
        """Dollars of the machine's time; None if it has no price."""
        return None if self.unpriced_charges or not self.charges else self.machine_usd

    @property
    def device_cost(self) -> float | None:
        """Dollars of devices; None if some of their time has no price."""
        return None if self.unpriced_device_s else self.device_usd

    @property
    def cost(self) -> float | None:
        """Dollars of all; None if a part is not known. The operator has no machine's time."""
        parts = [self.model_cost, self.device_cost]
        parts += [self.machine_cost] if self.charges or not self.device_s else []
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    @property
    def processor_s(self) -> float | None:
        """Seconds of processor time; None if a part of it was not measured."""
        return None if self.unmeasured_charges or not self.charges else self.cpu_s

    @property
    def unknown(self) -> tuple[str, ...]:
        """As text, what the dollars leave out."""
        words = []
        if self.unpriced_charges or not (self.charges or self.device_s):
            words.append("the machine's time")
        if self.unpriced_calls:
            words.append(f"{self.unpriced_calls} model calls")
        if self.unpriced_device_s:
            words.append(f"{self.unpriced_device_s / 3600:.2g} device hours")
        return tuple(words)
