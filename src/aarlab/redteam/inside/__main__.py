"""`python -m aarlab.redteam.inside NAME HINTS`: run one program, with hints as JSON."""

import json
import sys

from aarlab.redteam.inside import PROGRAMS, files, kernel, network, others, resources  # noqa: F401 - they register themselves

PROGRAMS[sys.argv[1]](json.loads(sys.argv[2]))
