"""The diversity of a campaign's ideas: entropy over families, and declared families against
those of text and code."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import numpy as np

from aarlab.core.entries import FindingBody, SubmissionBody, read_all
from aarlab.core.records import STUDY_FAMILIES, Entry
from aarlab.core.snapshot import Files
from aarlab.diversity.collapse import collapse_alarm
from aarlab.diversity.entropy import (
    across_researchers,
    effective,
    family_entropy,
    normalised,
    over_time,
    scaled,
)
from aarlab.diversity.families import classified, compare
from aarlab.report.diversity_record import (
    AcrossRow,
    DeclaredFamily,
    DiversityRows,
    EntropyRow,
    FamilyRow,
    FolderDiversity,
    UnsupportedRow,
)
from aarlab.report.report_record import count

Code = Callable[[str], Files]
SHOWN = 20  # the most unsupported declarations listed


def diversity_rows(
    submissions: Sequence[Entry], findings: Sequence[Entry], code: Code
) -> DiversityRows:
    """All about the diversity of these ideas; `code` reads a snapshot."""
    return DiversityRows(
        **_declared(submissions, findings, len(STUDY_FAMILIES)),
        **_checked(submissions, findings, code),
    )


def folder_diversity(
    submissions: Sequence[Entry], findings: Sequence[Entry], families: Sequence[str]
) -> FolderDiversity:
    """The same of a problem with families of its own, by which nothing classifies ideas."""
    submitted = Counter(e.read(SubmissionBody).family for e in submissions)
    shared = Counter(e.read(FindingBody).family for e in findings)
    rows = (
        DeclaredFamily(family=f, submissions=count(submitted[f]), findings=count(shared[f]))
        for f in families
    )
    return FolderDiversity(**_declared(submissions, findings, len(families)), families=tuple(rows))


def _declared(submissions: Sequence[Entry], findings: Sequence[Entry], k: int) -> dict[str, object]:
    """Entropies over k families."""
    families = [e.read(SubmissionBody).family for e in submissions]
    bits = family_entropy(families, k=k) if families else None
    ideas = [(e.who, f) for e, f in zip(submissions, families, strict=True)]
    found = [e.read(FindingBody).family for e in findings]
    return {
        "bits": bits,
        "normalised": bits and scaled(bits, partial(normalised, k=k)),
        "effective": bits and scaled(bits, effective),
        "findings_bits": family_entropy(found, k=k) if found else None,
        "over_time": _over_time(submissions, families, k),
        "across": tuple(
            AcrossRow(idea=count(n, n=1), bits=m) for n, m in across_researchers(ideas, k=k)
        ),
        "alarm": collapse_alarm(families),
    }


def _over_time(
    submissions: Sequence[Entry], families: Sequence[str], k: int
) -> tuple[EntropyRow, ...]:
    if not submissions:
        return ()
    at = np.array([datetime.fromisoformat(e.at).timestamp() for e in submissions])
    rows = over_time(at - at[0], families, k=k)
    return tuple(
        EntropyRow(from_s=count(a, n=1), to_s=count(b, n=1), bits=bits) for a, b, bits in rows
    )


def _checked(
    submissions: Sequence[Entry], findings: Sequence[Entry], code: Code
) -> dict[str, object]:
    """Families of submissions by their code, of findings by their words."""
    submitted = list(read_all(submissions, SubmissionBody))
    by_code = {
        snapshot: classified(code=code(snapshot))
        for snapshot in {body.snapshot for _, body in submitted}
    }
    done = [(body.receipt.id, e.who, body.family, by_code[body.snapshot]) for e, body in submitted]
    said = [
        (f"f-{e.seq:06d}", e.who, body.family, classified(title=body.title, text=body.text))
        for e, body in read_all(findings, FindingBody)
    ]
    submitted, shared = (
        compare([(key, family, found) for key, _, family, found in rows]) for rows in (done, said)
    )
    who = {key: name for key, name, _, _ in [*done, *said]}
    rows = [
        FamilyRow(
            family=family,
            submissions=count(submitted.declared.get(family, 0)),
            submissions_by_code=count(submitted.classified.get(family, 0)),
            findings=count(shared.declared.get(family, 0)),
            findings_by_words=count(shared.classified.get(family, 0)),
        )
        for family in STUDY_FAMILIES
    ]
    doubted = [*submitted.unsupported, *shared.unsupported]
    listed = [
        UnsupportedRow(id=key, researcher=who[key], declared=a, classified=b)
        for key, a, b in doubted[:SHOWN]
    ]
    return {"families": tuple(rows), "unsupported": count(len(doubted)), "doubted": tuple(listed)}
