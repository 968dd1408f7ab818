import base64
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.evaluation.ledger.checkpoints import Checkpoints, Keeper, Key, notes, opened, read

ROOT, OTHER = hashlib.sha256(b"1").digest(), hashlib.sha256(b"2").digest()


def checkpoints(folder, **more):
    return Checkpoints(
        folder / "checkpoints", folder / "server" / "checkpoint.key", "aarlab/demo", **more
    )


def test_a_note_is_as_the_format_says(tmp_path):
    """C2SP: origin, size, base64 root, an empty line, em dash, name, base64 of key id and
    signature."""
    made = checkpoints(tmp_path)
    made.sign(3, ROOT)
    lines = made.path.read_text().split("\n")
    assert lines[:4] == ["aarlab/demo", "3", base64.b64encode(ROOT).decode(), ""]
    dash, name, blob = lines[4].split(" ")
    key_id = hashlib.sha256(b"aarlab/demo\n\x01" + made.key.public).digest()[:4]
    assert (dash, name, base64.b64decode(blob)[:4]) == ("—", "aarlab/demo", key_id)
    assert len(base64.b64decode(blob)) == 4 + 64


def test_whoever_has_the_public_key_can_read_them(tmp_path):
    made = checkpoints(tmp_path)
    made.sign(3, ROOT)
    made.sign(5, OTHER)
    key = Key.parse((tmp_path / "checkpoints" / "key.pub").read_text())
    assert [(c.size, c.root) for c in read(made.path, key)] == [(3, ROOT), (5, OTHER)]


@pytest.mark.parametrize(
    "change",
    [("3\n", "4\n"), ("aarlab/demo\n3", "aarlab/demO\n3"), ("— aarlab/demo", "— aarlab/demi")],
)
def test_a_changed_note_is_refused(tmp_path, change):
    made = checkpoints(tmp_path)
    made.sign(3, ROOT)
    made.path.write_text(made.path.read_text().replace(*change, 1))
    with pytest.raises(Misconfigured, match="Do not believe it"):
        made.all()
    with pytest.raises(Misconfigured, match="Do not believe it"):
        checkpoints(tmp_path).sign(9, OTHER)


def test_another_key_signs_nothing_for_us(tmp_path):
    ours, theirs = checkpoints(tmp_path / "a"), checkpoints(tmp_path / "b")
    theirs.sign(3, ROOT)
    note = notes(theirs.path.read_bytes())[0][0]
    with pytest.raises(Misconfigured, match="no signature by the key|not a checkpoint signed"):
        opened(note, ours.key)
    assert opened(note, theirs.key).size == 3


def test_covered_entries_and_a_different_root_are_not_signed(tmp_path):
    made = checkpoints(tmp_path)
    made.sign(3, ROOT)
    assert made.sign(2, OTHER).size == 3
    assert made.sign(3, ROOT).size == 3
    with pytest.raises(Misconfigured, match="Another root was signed at size 3"):
        made.sign(3, OTHER)
    assert len(made.all()) == 1


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_a_note_whose_writing_was_cut_short_is_removed_at_the_next(tmp_path, cut):
    made = checkpoints(tmp_path)
    made.sign(3, ROOT)
    whole = len(made.path.read_bytes())
    made.sign(5, OTHER)
    with made.path.open("r+b") as file:
        file.truncate(whole + cut)
    again = checkpoints(tmp_path)
    assert [c.size for c in again.all()] == [3]
    again.sign(6, OTHER)
    assert [c.size for c in again.all()] == [3, 6]


def test_threads_may_sign_at_once(tmp_path):
    made = checkpoints(tmp_path)
    roots = [hashlib.sha256(bytes([n])).digest() for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: made.sign(n + 1, roots[n]), range(40)))
    sizes = [c.size for c in made.all()]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == 40
    assert all(c.root == roots[c.size - 1] for c in made.all())


def test_a_lost_or_exchanged_key_is_the_operators_to_mend(tmp_path):
    checkpoints(tmp_path)
    key = tmp_path / "server" / "checkpoint.key"
    whole = key.read_bytes()
    assert key.stat().st_mode & 0o077 == 0
    for damage, words in ((whole[:-1], "damaged"), (bytes(32), "does not belong")):
        key.write_bytes(damage)
        with pytest.raises(Misconfigured, match=words):
            checkpoints(tmp_path)
    key.unlink()
    with pytest.raises(Misconfigured, match="is gone"):
        checkpoints(tmp_path)


@pytest.mark.parametrize("text", ["", "a+b+c", "name+00000000+AAAA", "x"])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(Misconfigured, match="NAME\\+ID\\+KEY"):
        Key.parse(text)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\n"])
def test_an_origin_fits_into_a_note(tmp_path, origin):
    with pytest.raises(Misconfigured, match="Choose another campaign name"):
        Checkpoints(tmp_path, tmp_path / "key", origin)


def test_a_full_disk_is_transient(tmp_path):
    made = checkpoints(tmp_path)
    made.path.mkdir()
    with pytest.raises(Transient, match="tried again"):
        made.sign(1, ROOT)


def test_checkpoints_are_signed_by_count_by_time_and_at_the_end(tmp_path):
    made, size = checkpoints(tmp_path, every=10, within_s=0.05), 0
    keeper = Keeper(made, lambda: (size, hashlib.sha256(bytes([size])).digest()))
    for size in range(1, 12):
        keeper.grew(size)
    assert made.all()[0].size <= 10
    for _ in range(200):
        if made.all()[-1].size == 11:
            break
        time.sleep(0.05)
    assert made.all()[-1].size == 11
    size = 12
    keeper.close()
    assert made.all()[-1].size == 12
