"""The explanation of the first confirmed claim: from its code, the baselines' code and the record
alone."""

import json

import pytest

from aarlab.core.records import Entry
from aarlab.core.snapshot import difference
from aarlab.methods import parts
from aarlab.methods.baselines import BASELINES
from aarlab.report.pages import html
from aarlab.report.report_record import AblationRow
from aarlab.report.winner import (
    MOST_LINES,
    _library,
    baseline_code,
    explained,
    nearest_baseline,
)
from tests.report.test_headline import exact, pgr, with_claims
from tests.report.test_headline import report as report
from tests.report.test_ranked_claims import measure, row

ELICITED = """from aarlab.methods import parts


def run(task, seed):
    student, test = parts.represent(task)
    labels = parts.elicited_labels(task, student, seed)  # parts.curriculum
    words = "parts.evolve_layers"
    return parts.bagged(student, parts.harden(labels), test, seed, heads=3)
"""


def finding(seq, who, receipts, text="it works"):
    body = {"kind": "result", "title": "t", "text": text, "family": "other", "receipts": receipts}
    at = "2026-01-01T00:00:00+00:00"
    return Entry(seq=seq, at=at, who=who, kind="finding", text=json.dumps(body), prev="", hash="")


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_nearest_to_itself(name):
    code = baseline_code(name)
    assert "def run(" in code["method.py"]
    assert nearest_baseline(code)[:2] == (name, 1.0)


def test_the_nearest_baseline_is_the_one_that_does_the_same():
    name, share, n = nearest_baseline({"method.py": ELICITED})
    assert name == "elicitation"
    assert 0 < share < 1
    assert n > 20


def test_what_the_code_calls_is_named_with_what_it_does():
    """Not what stands in a comment or a text."""
    found = explained(row(), [], {"method.py": ELICITED})
    assert [x.name for x in found.components] == [
        "represent",
        "elicited_labels",
        "bagged",
        "harden",
    ]
    does = {x.name: x for x in found.components}
    assert does["elicited_labels"].does.startswith("Unsupervised elicitation: labels that the")
    assert does["harden"].does == "Probabilities to 0 or 1"
    assert [x.in_baseline for x in found.components] == [True, True, False, True]


def test_every_part_of_the_library_says_what_it_does():
    assert {"bagged", "train", "harden"} <= _library().keys()
    assert all(does and callable(getattr(parts, name)) for name, does in _library().items())


def test_the_difference_gives_the_claims_code_when_it_is_applied():
    found = explained(row(), [], {"method.py": ELICITED})
    kept = [x.text[1:] for x in found.difference if x.kind in ("added", "same")]
    assert "\n".join(kept) == ELICITED
    gone = [x.text[1:] for x in found.difference if x.kind in ("removed", "same")]
    assert "\n".join(gone) == baseline_code("elicitation")["method.py"]


def test_a_difference_names_files_that_are_new_or_gone():
    found = difference({"a.py": "x\n"}, {"b.py": "y\n"})
    assert [t for t in found if t.startswith(("+++", "---"))] == [
        *("--- before/a.py", "+++ after/a.py", "--- before/b.py", "+++ after/b.py")
    ]
    assert "-x" in found
    assert "+y" in found
    assert difference({"a.py": "x"}, {"a.py": "x"}) == []


def test_long_and_deceiving_code_is_cut_and_named():
    text = "\n".join(f"a{n} = 1" for n in range(MOST_LINES + 50)) + "\n# \u202eelif\x1b[1m"
    found = explained(row(), [], {"method.py": "# \u202e\n" + "b" * 500 + "\n" + text})
    assert found.difference[-1].kind == "note"
    assert found.difference[-1].text.startswith("cut: ")
    texts = [x.text for x in found.difference]
    assert "+# <U+202E>" in texts
    assert any(t.endswith("… cut: 101 more characters") for t in texts)


def test_only_its_own_researcher_speaks_for_a_claim():
    reported = [
        finding(1, "ann", ["r-1"]),
        finding(2, "eve", ["r-1"]),
        finding(3, "ann", ["r-2"]),
        finding(4, "ann", ["r-2", "r-1"], text="x" * 1_500),
    ]
    found = explained(row(), reported, {"method.py": ELICITED})
    assert [x.id for x in found.said] == ["f-000001", "f-000004"]
    assert found.said[1].text.endswith("… cut: 500 more characters")


def test_the_page_shows_it_with_what_is_left_under_ablation(report):
    left = AblationRow(
        kind="teacherless",
        split="final",
        accuracy=measure(0.6),
        p=exact(0),
        share=pgr(0.22),
        failure=None,
    )
    claim = row(ablations=(left,))
    hostile = finding(9, "ann", ["r-1"], text="</pre><script>x</script>")
    made = explained(claim, [hostile], {"method.py": ELICITED + "# </pre><img src=x>\n"})
    page = html(with_claims(report, claim).model_copy(update={"winner": made}))
    assert "The first confirmed claim, explained" in page
    assert '<td class="name"><code>bagged</code></td>' in page
    assert "0.600 [0.590, 0.610] (22% of its gain over chance)" in page
    assert "&lt;/pre&gt;&lt;img src=x&gt;" in page
    assert "<script" not in page
    assert "<img" not in page
    assert page.index("What to doubt") < page.index("explained") < page.index("Length alone")
    assert "explained" not in html(with_claims(report))
