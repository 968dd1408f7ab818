"""What may be spent, and what was: hours, tokens, dollars and compute, of one researcher or of a
whole campaign."""

from typing import Annotated

from pydantic import Field

from aarlab.core.records import Record

Amount = Annotated[float, Field(gt=0)] | None


class Spent(Record):
    """What was spent so far. Dollars are what is known: model calls at list prices, and the machine
    where a price is given."""

    wall_s: float = 0.0  # seconds in which a researcher ran and nothing of the lab was broken
    cpu_s: float = 0.0  # seconds of processor time in its sandbox
    # seconds of devices (GPUs) in its runs and in the calls of its model that is fine-tuned
    device_s: float = 0.0
    tokens: int = 0  # of model calls: input, written to and read from cache, output
    usd: float = 0.0


class Budget(Record):
    """Limits; None is no limit. Hours of a campaign are researcher-hours: nine researchers spend
    nine in an hour."""

    hours: Amount = None
    tokens: Annotated[int, Field(gt=0)] | None = None
    usd: Amount = None
    cpu_hours: Amount = None
    device_hours: Amount = None

    def reached(self, spent: Spent) -> str | None:
        """The first limit that is spent, as text ("budget of $5.00"), or None while all have
        something left."""
        if self.usd is not None and spent.usd >= self.usd:
            return f"budget of ${self.usd:.2f}"
        if self.tokens is not None and spent.tokens >= self.tokens:
            return f"budget of {self.tokens:,} tokens"
        if self.hours is not None and spent.wall_s >= self.hours * 3600:
            return f"budget of {self.hours:g} hours"
        if self.cpu_hours is not None and spent.cpu_s >= self.cpu_hours * 3600:
            return f"budget of {self.cpu_hours:g} hours of processor time"
        if self.device_hours is not None and spent.device_s >= self.device_hours * 3600:
            return f"budget of {self.device_hours:g} device hours"
        return None
