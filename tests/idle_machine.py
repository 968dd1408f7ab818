"""A machine on which nobody else runs, whatever this one does: for tests of what is too slow by
itself."""

from aarlab.runs.endings import Processors


class Idle(Processors):
    """Every run has a processor to itself."""

    def left(self, own_s):
        return 1.0
