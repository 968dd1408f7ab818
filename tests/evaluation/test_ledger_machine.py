"""The ledger against a plain list, under any order of appends by two owners, refused drafts,
restarts and torn checkpoints."""

import hashlib
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aarlab.core.errors import InvalidSubmission
from aarlab.evaluation.ledger.chain import LedgerRow
from aarlab.evaluation.ledger.drafts import Draft
from aarlab.evaluation.ledger.ledger import open_ledger
from aarlab.evaluation.ledger.merkle import Tree, leaf_hash
from aarlab.evaluation.ledger.places import Places, note_places

KINDS = st.sampled_from(["campaign", "finding", "spend", "flag"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
BODIES = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
WHO = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
OWNERS = st.sampled_from([0, 1])


class LedgerMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.place = tempfile.TemporaryDirectory()
        self.campaign = Path(self.place.name) / "c"
        self.note_store()
        self.owners = [open_ledger(self.campaign), open_ledger(self.campaign)]
        self.model = []
        self.blobs = {}

    def note_store(self):
        """Where the ledger is, if not in a file."""

    def _record(self, owner, drafts):
        made = self.owners[owner].append_many(drafts)
        assert [(e.kind, e.who, e.body) for e in made] == [(d.kind, d.who, d.body) for d in drafts]
        assert [e.seq for e in made] == list(
            range(len(self.model) + 1, len(self.model) + 1 + len(made))
        )
        self.model += [(d.kind, d.who, d.body) for d in drafts]
        for draft in drafts:
            self.blobs |= draft.blobs

    @rule(owner=OWNERS, kind=KINDS, who=WHO, body=BODIES)
    def append(self, owner, kind, who, body):
        self._record(owner, [Draft(kind, who, body)])

    @rule(owner=OWNERS, bodies=st.lists(BODIES, max_size=4), data=st.binary(max_size=9))
    def append_many(self, owner, bodies, data):
        name = hashlib.sha256(data).hexdigest()
        drafts = [Draft("spend", "a", body) for body in bodies] + [
            Draft("spend", "b", {"x": name}, {name: data})
        ]
        self._record(owner, drafts)

    @rule(
        owner=OWNERS,
        bad=st.sampled_from([float("nan"), float("inf"), object(), b"bytes"]),
        with_good=st.booleans(),
    )
    def refuse(self, owner, bad, with_good):
        drafts = [Draft("spend", "a", {})] * with_good + [Draft("spend", "a", {"x": bad})]
        with pytest.raises(InvalidSubmission):
            self.owners[owner].append_many(drafts)

    @rule(owner=OWNERS, data=st.binary(max_size=9))
    def refuse_a_blob_under_another_name(self, owner, data):
        with pytest.raises(InvalidSubmission, match="its SHA-256"):
            self.owners[owner].append_many([Draft("spend", "a", {"x": "0" * 64}, {"0" * 64: data})])

    @rule(owner=OWNERS)
    def restart(self, owner):
        self.owners[owner].close()
        self.owners[owner] = open_ledger(self.campaign)

    @precondition(lambda self: (self.campaign / "checkpoints" / "checkpoints.txt").exists())
    @rule(cut=st.integers(1, 30))
    def tear_the_last_checkpoint(self, cut):
        """As a power cut in the middle of a write would."""
        for owner in self.owners:
            owner.close()
        path = self.campaign / "checkpoints" / "checkpoints.txt"
        path.write_bytes(path.read_bytes()[:-cut])
        self.owners = [open_ledger(self.campaign), open_ledger(self.campaign)]

    @invariant()
    def it_is_the_list(self):
        for owner in self.owners:
            entries = owner.entries()
            assert [(e.kind, e.who, e.body) for e in entries] == self.model
            assert owner.count("spend") == sum(kind == "spend" for kind, _, _ in self.model)
        for name, data in self.blobs.items():
            assert self.owners[0].blob(name) == data

    @invariant()
    def it_is_chained_and_its_root_is_the_trees(self):
        first, second = self.owners
        assert first.verify() == second.verify() == len(self.model)
        assert first.count() == second.count()
        assert first.head() == second.head()

    def teardown(self):
        if hasattr(self, "owners"):
            for owner in self.owners:
                owner.close()
            last = self.owners[0]._checkpoints.all()[-1:]
            assert [c.size for c in last] == ([len(self.model)] if self.model else [])
            self.place.cleanup()


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@pytest.mark.process
def test_it_is_the_same_in_postgresql(postgres):
    class InPostgres(LedgerMachine):
        def note_store(self):
            note_places(self.campaign / "server", Places(ledger=postgres.url(), log=token_hex(6)))

    few = settings(max_examples=4, stateful_step_count=20, deadline=None)
    run_state_machine_as_test(InPostgres, settings=few)


def test_the_root_is_that_of_the_rows(tmp_path):
    with_rows = open_ledger(tmp_path)
    for number in range(9):
        with_rows.append("spend", "a", {"n": number})
    with closing(sqlite3.connect(tmp_path / "server" / "ledger.sqlite")) as raw:
        leaves = [
            leaf_hash(LedgerRow(*row).canonical)
            for row in raw.execute("SELECT * FROM entries ORDER BY seq")
        ]
    assert with_rows.head() == (9, Tree(leaves).root())
    with_rows.close()
