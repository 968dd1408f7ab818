"""One alarm for each cause of refused model calls, with its count and whose calls they were."""

from aarlab.fleet.refused_calls import FAILING_S, alarms_of, refusal_of
from aarlab.gateway.call_health import RefusedCalls

NOW = 1_000_000.0


def trouble(who: str, words: str, *, kind="refused", calls=1, since=NOW, last=NOW) -> RefusedCalls:
    return RefusedCalls(who, kind, words, words, calls, since, last)


def test_researchers_that_meet_the_same_refusal_are_one_alarm():
    found = [trouble(f"r-{n}", "anthropic refuses the key (401)", calls=n) for n in range(1, 6)]
    found.append(trouble("r-1", "the gateway refuses them: The field 'x' is not allowed here."))
    assert alarms_of(found, NOW) == [
        "15 model calls of r-1, r-2, r-3 and 2 more were refused: anthropic refuses the key (401)",
        "1 model calls of r-1 were refused: the gateway refuses them: The field 'x' is not allowed "
        "here.",
    ]


def test_what_clients_wait_out_is_an_alarm_when_it_lasts():
    words = "anthropic cannot answer (529): Overloaded"
    for since, alarms in ((NOW - FAILING_S + 1, 0), (NOW - FAILING_S, 1)):
        assert len(alarms_of([trouble("r-1", words, kind="failed", since=since)], NOW)) == alarms


def test_the_refusal_of_an_incarnation_is_the_latest_since_its_start():
    found = [trouble("r-1", "first", last=NOW - 9), trouble("r-1", "second", last=NOW - 5)]
    found.append(trouble("r-1", "no answer", kind="failed"))
    latest = refusal_of(found, "r-1", NOW - 10)
    assert latest is not None
    assert latest.words == "second"
    assert refusal_of(found, "r-1", NOW - 4) is refusal_of(found, "r-2", 0.0) is None
