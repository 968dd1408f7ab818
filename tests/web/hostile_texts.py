"""What researchers may write to attack whoever looks at it, and a campaign that is full of it."""

import json
from unittest.mock import patch

from tests.fleet.fleets import call, confirmation, fleet, member
from tests.web.scenes import ledger_of, with_code

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script src=//evil.example/x.js></script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><a href='javascript:alert(1)'>x</a></svg>",
    "javascript:alert(1)",
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    '" onmouseover="alert(1)" x="',
    "' style='position:fixed' '",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<style>*{display:none}</style></title></textarea></pre></main>",
    "{{ 7 * 7 }}{% raw %}",
    "<div hx-get=/x hx-trigger=load>",
    "[l](http://evil.example)",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "\u202e\u2066evil\u2069 \u200b\u00ad",
    "half \ud83d of a character",
    "nul \x00 and bell \x07",
    "line\u2028separator",
    '=HYPERLINK("http://evil.example")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
)
FIVES = tuple(HOSTILE[n::4] for n in range(4))  # each test of many pages takes five
LONG = "x" * 1_000_000


def written(home, *everything: str) -> None:
    """In the campaign `small` of that state folder, everybody writes each of these wherever anybody
    can."""
    transcripts = home / "campaigns" / "small" / "transcripts" / "researcher-1"
    transcripts.mkdir(parents=True)
    plain = [no_surrogate(words) for words in everything]
    for words in everything:
        _in_ledger(home, words)
        _in_transcript(transcripts / "1.jsonl", words)
    fleet(
        *(
            member(f"researcher-{n}", last_action=text, direction=text)
            for n, text in enumerate(plain, start=1)
        ),
        alarms=tuple(plain),
        services={text[:50]: text for text in plain},
    ).write(home / "campaigns" / "small")


def _in_ledger(home, words: str) -> None:
    # earlier versions recorded half a character, and their ledgers are read
    with patch("aarlab.evaluation.ledger.drafts.half_of_pair", lambda body: None):
        _recorded(home, words)


def _recorded(home, words: str) -> None:
    text = no_surrogate(words)
    with_code(home, "researcher-1", "a = 1\n", f"a = 1\n{text}\n")
    ledger = ledger_of(home)
    body = {"kind": words, "title": words, "text": words, "family": words, "snapshot": words}
    ledger.append(
        "finding", "researcher-1", body | {"receipts": [words, "r-000001"], "parent": words}
    )
    flag = {"detector": words, "submitter": words, "receipts": [words], "uses_labels": False}
    ledger.append("flag", "evaluator", flag | {"evidence": text} | _plain(flag))
    event = {"event": words, "detail": words, "direction": words}
    ledger.append("researcher", "researcher-1", event)
    ledger.append("campaign", "operator", {"event": text[:200], "detail": text[:200_000]})
    spent = {"usd": 1.0, "call": call(text[:200]), "id": f"h-{ledger.count('spend')}"}
    ledger.append("spend", "researcher-1", spent)
    ledger.append("confirmation", "evaluator", _confirmed_on(text))
    ledger.close()


def _in_transcript(path, words: str) -> None:
    used = {"type": "tool_use", "name": words, "input": {"command": words}}
    rows = [
        {"type": "assistant", "message": {"content": [{"type": "text", "text": words}, used]}},
        {"type": "user", "message": {"content": [{"type": "tool_result", "content": words}]}},
    ]
    with path.open("a") as file:
        file.write("\n".join([*map(json.dumps, rows), no_surrogate(words), ""]))


def _confirmed_on(words: str) -> dict:
    """A confirmation whose targets are named so, one of which failed with these words."""
    body = confirmation("s", "researcher-1", verdict="confirmed")
    measure = {"estimate": 0.5, "lower": 0.4, "upper": 0.6, "n": 100, "resampled": words}
    named = {"name": words, "problem": words, "student": words, "split": "final"}
    body["record"]["targets"] = [
        named | {"kind": "transfer", "accuracy": None, "failure": words},
        named | {"name": f"{words}2", "kind": "fresh", "accuracy": measure, "failure": None},
        named
        | {"name": f"{words}3", "kind": "component", "accuracy": measure, "failure": None}
        | {"removed": words, "lost": measure},
    ]
    return body


def no_surrogate(words: str) -> str:
    return words.encode(errors="replace").decode()


def _plain(flag: dict) -> dict:
    """Strict records take no half of a character."""
    return {
        name: no_surrogate(value) if isinstance(value, str) else [no_surrogate(v) for v in value]
        for name, value in flag.items()
        if isinstance(value, str | list)
    }
