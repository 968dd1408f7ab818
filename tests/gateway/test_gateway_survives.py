"""kill -9 of the gateway, of its starter, of an earlier incarnation: no spend is lost, none counts
twice, nobody is two."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from running import ASK, Running
from upstream import HANG, Reply, Upstream, events, finish, message, start, text

from aarlab.core.budget import Spent
from tests.waiting import waited_for

pytestmark = pytest.mark.process

STREAM = ASK | {"stream": True}


def test_kill_9_in_mid_stream_loses_no_spend_and_charges_none_twice(tmp_path: Path) -> None:
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        inside = gateway.inside("ann")
        upstream.play = lambda request: message(plain=100, output=10)
        assert inside.post("/v1/messages", json=ASK).status_code == 200
        upstream.play = lambda request: events(
            start(plain=1_000, write=200, output=1), text("four"), HANG
        )
        with (
            pytest.raises(httpx.TransportError),
            inside.stream("POST", "/v1/messages", json=STREAM) as answer,
        ):
            for chunk in answer.iter_raw():
                if b"four" in chunk:
                    gateway.kill()
        assert len(gateway.spends()) == 1, "the second call is open"
        for _ in range(2):  # starting twice settles once
            gateway.start()
            first, second = (row.body for row in gateway.spends("ann"))
            assert first["call"]["interrupted"] is False
            assert second["call"]["interrupted"] is True
            assert (second["call"]["input_tokens"], second["call"]["cache_write_tokens"]) == (
                1_000,
                200,
            )
            assert second["usd"] == pytest.approx(
                (1_000 * 5 + 200 * 6.25 + second["call"]["output_tokens"] * 25) / 1e6, abs=1e-12
            )
            assert second["call"]["output_tokens"] in (1, 4), "what had come a moment ago"
            gateway.kill()
        gateway.start()
        upstream.play = lambda request: message(plain=1, output=1)
        assert inside.post("/v1/messages", json=ASK).status_code == 200, (
            "at the same path, in the same sandbox"
        )
        assert len(gateway.spends("ann")) == 3


def test_kill_9_before_any_usage_is_recorded_and_free(tmp_path: Path) -> None:
    with (
        Upstream(lambda request: Reply([HANG])) as upstream,
        Running(tmp_path, upstream.url) as gateway,
    ):
        inside = gateway.inside("ann")
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(inside.post, "/v1/messages", json=ASK)
            upstream.wait_for(1)
            gateway.kill()
            assert isinstance(call.exception(), httpx.TransportError)
        gateway.start()
        (row,) = gateway.spends("ann")
        assert (
            row.body["usd"],
            row.body["call"]["interrupted"],
            row.body["call"]["input_tokens"],
        ) == (None, True, 0)
        journal = gateway.journal()
        assert journal.spent("ann") == Spent()
        journal.close()


# httpcore's
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
def test_kill_9_again_and_again_under_load_adds_up(tmp_path: Path) -> None:
    """What the provider answered in whole is charged in whole, unless it was answered into a
    gateway that was just killed."""
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        upstream.play = lambda request: events(start(plain=100), text("x"), 0.01, *finish(10))
        reported, stop = [], threading.Event()

        def work(name: str) -> None:
            inside = gateway.inside(name)
            while not stop.is_set():
                try:
                    if "message_stop" in inside.post("/v1/messages", json=STREAM).text:
                        reported.append(name)
                except httpx.TransportError:
                    stop.wait(0.02)

        for name in ("a", "b", "c"):
            gateway.admit(name)
        with ThreadPoolExecutor(3) as pool:
            for name in ("a", "b", "c"):
                pool.submit(work, name)
            for _ in range(3):
                seen = len(reported)
                waited_for(lambda seen=seen: len(reported) > seen + 20)
                gateway.kill()
                gateway.start()
            stop.set()
        waited_for(lambda: gateway.open_calls() == 0)
        rows = gateway.spends()
        calls = [row.body["call"] for row in rows]
        whole = [call for call in calls if not call["interrupted"]]
        assert len(reported) <= len(whole), "nothing that a researcher got is free"
        charged = [row for row in rows if row.body["usd"] is not None]
        assert len(charged) <= len(upstream.requests), "nothing is charged twice"
        assert all(call["output_tokens"] == 10 and call["input_tokens"] == 100 for call in whole)
        assert len(calls) - len(whole) <= 9, "three calls at each of three kills"
        journal = gateway.journal()
        assert journal.spent(None).tokens == sum(
            call["input_tokens"] + call["output_tokens"] for call in calls
        )
        journal.close()


# --- the end in order -----------------------------------------------------------------------------


def test_it_ends_when_its_starter_does(tmp_path: Path) -> None:
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        folder = gateway.admit("ann")
        gateway.parent_pipe.close()
        assert gateway.process.wait(20) == 0
        assert not gateway.address.exists()
        assert not (folder / "lab.sock").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_lets_calls_finish(tmp_path: Path, number: int) -> None:
    more = threading.Event()
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        upstream.play = lambda request: events(start(plain=100), text("x"), more, *finish(10))
        with gateway.inside("ann").stream("POST", "/v1/messages", json=STREAM) as answer:
            next(answer.iter_raw())
            gateway.process.send_signal(number)
            waited_for(lambda: not gateway.address.exists())
            more.set()
        assert gateway.process.wait(20) == 0
        (row,) = gateway.spends("ann")
        assert row.body["call"]["output_tokens"] == 10
        assert row.body["call"]["interrupted"] is False


@pytest.mark.long
def test_told_to_end_it_cuts_off_what_does_not_and_settles_it(tmp_path: Path) -> None:
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        upstream.play = lambda request: events(start(plain=100), text("four"), HANG)
        with gateway.inside("ann").stream("POST", "/v1/messages", json=STREAM) as answer:
            next(answer.iter_raw())
            upstream.play = lambda request: Reply([HANG])
            with pytest.raises(httpx.ReadTimeout):
                gateway.inside("bob").post("/v1/messages", json=ASK, timeout=0.3)
            gateway.process.terminate()
            assert gateway.process.wait(20) == 0
        (ann,), (bob,) = gateway.spends("ann"), gateway.spends("bob")
        assert (ann.body["call"]["input_tokens"], ann.body["call"]["interrupted"]) == (100, True)
        assert (bob.body["usd"], bob.body["call"]["interrupted"]) == (None, True)
        assert gateway.open_calls() == 0
        assert "Traceback" not in gateway.log


@pytest.mark.long
def test_two_gateways_never_serve_one_campaign(tmp_path: Path) -> None:
    """The second waits for the first to end, since it settles whatever that left open."""
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        argv = [sys.executable, "-m", "aarlab.gateway.serve", "--campaign", str(tmp_path)]
        argv += ["--config", str(tmp_path / "config.json"), "--sockets", str(gateway.sockets)]
        env = {"PATH": os.defpath} | {
            f"AAR_KEY_{name}": "other" for name in ("ANTHROPIC", "OPENAI", "GOOGLE")
        }
        other = subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL)
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(2)
            assert json.loads(gateway.address.read_text())["pid"] == gateway.process.pid
            gateway.process.terminate()
            assert gateway.process.wait(20) == 0
            waited_for(gateway.address.exists)
            assert json.loads(gateway.address.read_text())["pid"] == other.pid
        finally:
            other.terminate()
            other.wait(20)


@pytest.mark.parametrize(
    ("config", "keys", "words"),
    [
        (
            '{"models": ["no-such-model"], "providers": [{"name": "anthropic", "url": '
            '"http://x"}]}',
            True,
            "price of 'no-such-model'",
        ),
        (
            '{"providers": [{"name": "anthropic", "url": "http://x"}]}',
            False,
            "Set AAR_KEY_ANTHROPIC for the gateway",
        ),
        ('{"nonsense": 1}', True, "nonsense"),
    ],
)
def test_what_is_misconfigured_is_said_at_the_start(
    tmp_path: Path, config: str, keys: bool, words: str
) -> None:
    (tmp_path / "config.json").write_text(config)
    argv = [
        sys.executable,
        "-m",
        "aarlab.gateway.serve",
        "--campaign",
        str(tmp_path),
        "--config",
        str(tmp_path / "config.json"),
    ]
    env = {"PATH": os.defpath} | ({"AAR_KEY_ANTHROPIC": "k"} if keys else {})
    done = subprocess.run(
        [*argv, "--sockets", str(tmp_path / "s")],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


# --- incarnations ----------------------------------------------------------------------------


def test_later_incarnation_fences_earlier_connections(tmp_path: Path) -> None:
    more = threading.Event()
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        old = gateway.admit("ann", 1)
        upstream.play = lambda request: events(start(plain=100), text("x"), more, *finish(10))
        stale = gateway.inside("ann")
        with socket.socket(socket.AF_UNIX) as idle:
            idle.connect(str(old / "lab.sock"))
            with (
                pytest.raises(httpx.TransportError),
                stale.stream("POST", "/v1/messages", json=STREAM) as answer,
            ):
                came = answer.iter_raw()
                next(came)
                new = gateway.admit("ann", 2)
                assert new != old
                for _ in came:
                    pass
            idle.settimeout(5)
            assert idle.recv(1) == b"", "put out"
        assert not old.exists()
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(FileNotFoundError):
            late.connect(str(old / "lab.sock"))
        assert gateway.inside("ann", new).get("/usage").status_code == 200
        more.set()  # the stale call was ann's all the same
        waited_for(lambda: gateway.spends("ann"))
        assert gateway.spends("ann")[0].body["call"]["output_tokens"] == 10


def test_an_earlier_incarnation_is_not_let_in_again(tmp_path: Path) -> None:
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        folder = gateway.admit("ann", 3)
        answer = gateway.control("PUT", "/members/ann", {"incarnation": 2, "token": "t"})
        assert answer.status_code == 409
        assert answer.json() == {
            "error": "ann is in incarnation 3. Incarnation 2 is over.",
            "whose_move": "submitter",
        }
        assert gateway.admit("ann", 3) == folder, "the same incarnation again gets the same socket"
        gateway.kill()
        gateway.start()
        assert (
            gateway.control("PUT", "/members/ann", {"incarnation": 2, "token": "t"}).status_code
            == 409
        )
        assert gateway.inside("ann").get("/usage").status_code == 200


def test_dismissed_is_gone_for_good(tmp_path: Path) -> None:
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        folder = gateway.admit("ann")
        assert gateway.control("DELETE", "/members/ann").status_code == 200
        assert gateway.control("DELETE", "/members/ann").status_code == 404
        assert not folder.exists()
        gateway.kill()
        gateway.start()
        assert gateway.control("GET", "/status").json()["members"] == {}


def test_sockets_of_another_supervisor_are_not_opened_again(tmp_path: Path) -> None:
    """A resumed campaign has another folder of sockets; what lay in the old one belongs to
    nobody."""
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        old = gateway.admit("ann")
        gateway.process.terminate()
        gateway.process.wait(20)
        before, gateway.sockets = (
            gateway.sockets,
            gateway.sockets.with_name(gateway.sockets.name + "-2"),
        )
        gateway.start()
        assert gateway.control("GET", "/status").json()["members"] == {}
        assert not (old / "lab.sock").exists()
        assert gateway.admit("ann", 1).parent == gateway.sockets
        for left in before.iterdir():
            left.rmdir()
        before.rmdir()


def test_who_may_open_what(tmp_path: Path) -> None:
    """Tokens and the control socket are ours; a researcher's folder can be entered by who knows its
    name, and not listed."""
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        folder = gateway.admit("ann")

        def mode(path: Path) -> int:
            return stat.S_IMODE(path.stat().st_mode)

        assert mode(Path(json.loads(gateway.address.read_text())["control"])) == 0o600
        assert mode(tmp_path / "gateway" / "members.json") == 0o600
        assert "token-of-ann" in (tmp_path / "gateway" / "members.json").read_text()
        assert (mode(folder), mode(folder.parent), mode(folder / "lab.sock")) == (
            0o711,
            0o711,
            0o666,
        )
        assert len(folder.name) == 16
        assert [path.name for path in folder.iterdir()] == ["lab.sock"]


@pytest.mark.parametrize(
    ("verb", "path", "body", "status"),
    [
        ("PUT", "/members/ann", {"incarnation": 0, "token": "t"}, 422),
        ("PUT", "/members/ann", {"incarnation": 1, "token": "two\nlines"}, 422),
        ("PUT", "/members/ann", {"incarnation": 1}, 422),
        ("PUT", "/members/ann", {"incarnation": 1, "token": "t", "folder": "/etc"}, 422),
        ("PUT", "/members/..", {"incarnation": 1, "token": "t"}, 404),
        ("PUT", "/members/a%2fb", {"incarnation": 1, "token": "t"}, 404),
        ("GET", "/members/ann", None, 404),
        ("GET", "/", None, 404),
    ],
)
def test_the_control_socket_takes_what_it_should(
    control: Running, verb: str, path: str, body: object, status: int
) -> None:
    answer = control.control(verb, path, body)
    assert answer.status_code == status
    assert answer.json().keys() == {"error", "whose_move"}
    assert control.control("GET", "/status").json()["members"] == {}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory):
    with Running(tmp_path_factory.mktemp("control"), "http://127.0.0.1:9") as made:
        yield made


def test_status_tells_no_token(tmp_path: Path) -> None:
    with Upstream() as upstream, Running(tmp_path, upstream.url) as gateway:
        gateway.inside("ann").post("/v1/messages", json=ASK)
        reported = gateway.control("GET", "/status")
        assert "token-of" not in reported.text
        assert reported.json()["calls"] == {
            "open": 0,
            "reserved_usd": 0.0,
            "spent_usd": pytest.approx(175e-6, abs=1e-12),
        }
        assert reported.json()["members"]["ann"]["incarnation"] == 1


@pytest.mark.long
def test_a_folder_too_long_for_a_socket_is_the_operators_move(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    argv = [
        sys.executable,
        "-m",
        "aarlab.gateway.serve",
        "--campaign",
        str(tmp_path),
        "--config",
        str(tmp_path / "config.json"),
    ]
    done = subprocess.run(
        [*argv, "--sockets", str(tmp_path / ("s" * 100))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is too long for a socket" in done.stderr
