"""How every server writes: what is written at one moment leaves as one."""

import asyncio

from aarlab.core.http import JOINED, JoinedWrites


class Transport:
    """What a transport was told to do, in order."""

    def __init__(self):
        self.done = []

    def write(self, data):
        self.done.append(data)

    def close(self):
        self.done.append("closed")

    def is_closing(self):
        return self.done[-1:] == ["closed"]


def joined(act):
    """What reaches the transport of what `act` does with `JoinedWrites`."""
    transport = Transport()

    async def run():
        await act(JoinedWrites(transport))
        await asyncio.sleep(0)

    asyncio.run(run())
    return transport.done


def test_what_is_written_at_one_moment_leaves_as_one_and_in_order():
    async def act(joining):
        joining.write(b"head ")
        joining.write(b"body")
        await asyncio.sleep(0)
        joining.write(b"next")

    assert joined(act) == [b"head body", b"next"]


def test_a_large_write_leaves_at_once_after_what_came_before():
    large = b"x" * (JOINED + 1)
    seen = []

    async def act(joining):
        joining.write(b"head ")
        joining.write(large)
        seen.append(joining.done[:])

    assert joined(act) == [b"head " + large] == seen[0]


def test_a_close_comes_after_what_was_written():
    async def act(joining):
        joining.write(b"last words")
        joining.close()
        assert joining.is_closing()

    assert joined(act) == [b"last words", "closed"]
