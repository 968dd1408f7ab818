"""Files that appear whole or not at all."""

import os
import stat
import threading

import pytest

from aarlab.core.files import OWNER_ONLY, folder_whole, open_whole, widen_umask, write_whole


def test_a_failed_write_leaves_the_old_file_and_no_temporary_file(tmp_path):
    path = tmp_path / "new" / "file.json"
    write_whole(path, "old")
    with pytest.raises(RuntimeError), open_whole(path) as file:
        file.write(b"half of it")
        file.flush()
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_threads_that_write_one_path_do_not_disturb_each_other(tmp_path):
    path, start = tmp_path / "file", threading.Barrier(16)

    def write(n):
        start.wait()
        for _ in range(20):
            write_whole(path, bytes([n]) * 5_000)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = path.read_bytes()
    assert content == content[:1] * 5_000
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_file_for_its_owner_is_never_readable_to_others(tmp_path):
    with open_whole(tmp_path / "tokens", mode=OWNER_ONLY):
        (temporary,) = tmp_path.iterdir()
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tokens").stat().st_mode) == 0o600


def test_a_long_name_and_text_in_utf_8(tmp_path):
    path = tmp_path / ("n" * 250)
    write_whole(path, "né")
    assert path.read_bytes() == "né".encode()


def test_a_folder_gets_its_name_when_it_is_whole_and_a_faster_one_stays(tmp_path):
    path = tmp_path / "new" / "folder"
    for content in ("first", "second"):
        with folder_whole(path) as made:
            (made / "file").write_text(content)
            assert made.parent == path.parent
    assert (path / "file").read_text() == "first"
    assert [p.name for p in path.parent.iterdir()] == ["folder"]


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), folder_whole(tmp_path / "folder") as made:
        (made / "file").write_text("half of it")
        raise RuntimeError
    (tmp_path / "file").write_text("in its place")
    with pytest.raises(NotADirectoryError), folder_whole(tmp_path / "file"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("given", "becomes"), [(0o077, 0o072), (0o027, 0o022), (0o022, 0o022)])
def test_a_umask_that_hides_files_from_sandboxes_is_widened_for_root(
    tmp_path, monkeypatch, given, becomes
):
    before = os.umask(given)
    try:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        widen_umask(tmp_path / "not made")
        assert os.umask(given) == given
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        widen_umask(tmp_path / "home" / ".aar")
        assert os.umask(given) == becomes
    finally:
        os.umask(before)
    assert not (tmp_path / "not made").exists()
    made = tmp_path / "home" / ".aar"
    assert made.exists() == (given != becomes)
    if made.exists():
        assert stat.S_IMODE(made.stat().st_mode) == 0o777 & ~given
