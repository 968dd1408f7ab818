import json
import stat

import numpy as np
import pytest

from aarlab.core.download import from_package_index
from aarlab.core.errors import Misconfigured
from aarlab.core.records import Choice, Pair
from aarlab.problems.publish import publish, read_private_items
from aarlab.problems.registered import PROBLEMS


def published_rows(bed):
    for path in [*bed.public.glob("*.jsonl"), *bed.sealed.glob("*.jsonl")]:
        yield from (json.loads(line) for line in path.read_text().splitlines())


def test_published_rows_hold_the_allowed_fields_only(bed):
    rows = list(published_rows(bed))
    assert len(rows) > 300
    assert {tuple(row) for row in rows} == {Pair.PUBLISHED}


def test_researchers_get_no_final_item_and_no_teacher_item(bed):
    hidden = {i.id for i in read_private_items(bed.folder) if i.split in {"final", "teacher"}}
    everything = b"".join(p.read_bytes() for p in bed.public.rglob("*") if p.is_file())
    assert hidden
    assert not any(i.encode() in everything for i in hidden)


def test_no_published_array_is_the_labels_in_disguise(bed, answers):
    """Nothing of length N (or a column of it) agrees with the truth as well as the ceiling does,
    save the student's states."""
    for split in ("student", "feedback"):
        ids = [
            json.loads(line)["id"]
            for line in (bed.public / f"{split}.jsonl").read_text().splitlines()
        ]
        truth = np.array([answers[split][i] for i in ids])
        assert abs(np.corrcoef(np.arange(len(ids)), truth)[0, 1]) < 0.15  # the order tells nothing
        by_id = np.argsort(np.argsort(ids))
        assert abs(np.corrcoef(by_id, truth)[0, 1]) < 0.15  # nor do the ids
    student = [
        json.loads(line)["id"] for line in (bed.public / "student.jsonl").read_text().splitlines()
    ]
    weak = np.load(bed.public / "weak_probs.npy")
    truth = np.array([answers["student"][i] for i in student])
    assert ((weak > 0.5) == truth).mean() < 0.8


def test_private_and_sealed_are_closed_to_others(bed):
    for folder in (bed.private, bed.sealed.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_download_with_another_hash_is_refused(tmp_path):
    (tmp_path / "thing-1.tar.gz").write_bytes(b"changed")
    with pytest.raises(Misconfigured, match="SHA-256"):
        from_package_index("thing==1", filename="thing-1.tar.gz", sha256="0" * 64, cache=tmp_path)


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\r\n"])
def test_a_text_with_any_character_is_read_back_as_it_was(tmp_path, odd):
    """All of these end a line for Python's str.splitlines."""
    items = [
        Choice(
            id=f"{s}{n}",
            question=f"{s}{n}{odd}?",
            choice=f"a{odd}b{n}",
            label=n,
            split=s,
            part="id",
            level=1,
        )
        for s in ("teacher", "student", "final")
        for n in (0, 1)
    ]
    publish(PROBLEMS["small-math"], items, tmp_path, data_seed=1)
    assert read_private_items(tmp_path) == items
    rows = [
        json.loads(line)
        for line in (tmp_path / "public" / "student.jsonl").read_text().splitlines()
    ]
    assert [row["choice"] for row in rows] == [i.choice for i in items if i.split == "student"]
