"""What code submits to a problem in a folder is the same wherever an engine makes it."""

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.problems.folder.folder_problem import read_problem
from aarlab.runs.data_pack import packed_files, write_files
from aarlab.runs.local_pool import LocalPool
from aarlab.runs.placed_making import require_placeable
from aarlab.sandbox import Bubblewrap
from tests.problems.folders_made import CONTRACT, write_problem
from tests.runs.placed_problems import PREDICTED, WRITES, WRITTEN, graders_at, measured_by

ALL = [("predictions", name) for name in PREDICTED] + [("artifact", name) for name in WRITTEN]


@pytest.fixture(scope="module")
def graders(tmp_path_factory, starts_processes):
    return graders_at(tmp_path_factory.mktemp("placed"))


@pytest.fixture(scope="module")
def pool_engine(tmp_path_factory, starts_processes):
    made = LocalPool(Bubblewrap, tmp_path_factory.mktemp("locks"), workers=2)
    yield made
    made.close()


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_making_by_an_engine_is_as_one_in_this_process(graders, pool_engine, kind, name):
    problem, prepared, codes = graders[kind]
    here = measured_by(None, problem, prepared, codes[name])
    there = measured_by(pool_engine, problem, prepared, codes[name])
    assert there == here
    assert "passwd" not in str(here)
    assert name != "looks round" or "secrets: []" in here[1]


def test_a_folder_that_code_made_a_link_is_not_followed(graders, pool_engine):
    """In this process it cannot be made one: it is a mount."""
    problem, prepared, _ = graders["artifact"]
    more = "import shutil; shutil.rmtree(out); os.symlink('/etc', out)"
    found = measured_by(pool_engine, problem, prepared, WRITES.format(more=more))
    words = "method.py, seed 1: what it submits is refused: made is no folder. Send one."
    assert found == ("Refused", words, "answers of the wrong shape")


class Lost(LocalPool):
    """An engine that loses what it was given, and remembers what was cancelled."""

    def __init__(self, folder):
        super().__init__(Bubblewrap, folder, workers=1)
        self.cancelled = []

    def poll(self, key, wait_s=0.0):
        raise Transient("The node is gone. Try again.")

    def cancel(self, key):
        self.cancelled.append(key)
        super().cancel(key)


def test_a_making_that_is_lost_is_no_result_and_the_others_are_taken_back(graders, tmp_path):
    engine = Lost(tmp_path)
    problem, prepared, codes = graders["predictions"]
    with pytest.raises(Transient, match="The node is gone"):
        measured_by(engine, problem, prepared, codes["by number"], seeds=(1, 2, 3))
    assert len(engine.cancelled) == 2
    engine.close()


def test_a_submission_that_no_node_can_send_is_refused_before_it_is_made(tmp_path):
    contract = CONTRACT.replace("values: probability", "values: probability, max_bytes: 100000000")
    with pytest.raises(Misconfigured, match=r"100,000,000 bytes, and 67,108,864 come back"):
        require_placeable(read_problem(write_problem(tmp_path / "p", contract=contract)))


@pytest.mark.parametrize(
    "files",
    [
        [("../x", b"x")],
        [("a/../../x", b"x")],
        [("/etc/x", b"x")],
        [("a\0", b"x")],
        [("", b"x")],
    ],
)
def test_files_from_a_node_stay_in_their_folder(tmp_path, files):
    with pytest.raises(Transient, match="outside their folder"):
        write_files(tmp_path, packed_files(files), "What a node made")
    assert not list(tmp_path.parent.glob("x"))


def test_files_that_fit_no_folder_are_an_error_of_the_disk(tmp_path):
    for files in ([("a", b""), ("a/b", b"")], [("n" * 300, b"")], [("a", b""), ("a", None)]):
        place = tmp_path / str(len(files[-1][0]))
        place.mkdir(exist_ok=True)
        with pytest.raises(OSError, match="exists|too long|directory"):
            write_files(place, packed_files(files), "What a node made")


def test_folders_that_are_empty_travel(tmp_path):
    files = [("a", None), ("a/b.txt", b"b"), ("empty", None)]
    write_files(tmp_path, packed_files(files), "These")
    assert (tmp_path / "empty").is_dir()
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"b"
