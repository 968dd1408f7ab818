"""A finding that is hidden while a page of findings is made is on no later page."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from aarlab.core.callers import Identity
from aarlab.core.records import Family, Finding
from aarlab.lab.lab_handlers import CALLER, TOKEN, LabHandlers

FOUND = [
    Finding(
        id=f"f-{n:06d}",
        at="2026-11-30T00:00:00.000+00:00",
        author="ann",
        kind="insight",
        title="t",
        text="x",
        family=Family.OTHER,
    )
    for n in (1, 2, 3)
]


async def pages(pool):
    """What a page holds for who asked before it was hidden, and for who asks afterwards."""
    made = object.__new__(LabHandlers)
    view = SimpleNamespace(hidden=set())
    view.since = lambda *_: [f for f in FOUND if f.id not in view.hidden]
    made._findings, made._similars = view, SimpleNamespace(hidden=())
    made._record, made._pages, made._pool = SimpleNamespace(behind=False), {}, pool

    async def recorded(*_, **__):  # meanwhile the operator hides the second
        made._hide(["f-000002"])

    made._readings = SimpleNamespace(record=recorded)
    CALLER.set(Identity("bob", "researcher"))
    TOKEN.set("0" * 64)
    return [json.loads(await made._page(0, 10))["findings"] for _ in range(2)]


def test_a_page_that_was_made_before_is_not_sent_afterwards():
    with ThreadPoolExecutor(1) as pool:
        before, after = asyncio.run(pages(pool))
    assert [f["id"] for f in before] == ["f-000001", "f-000002", "f-000003"]
    assert [f["id"] for f in after] == ["f-000001", "f-000003"]
