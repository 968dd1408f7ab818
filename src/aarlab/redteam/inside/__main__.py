"""`python -m aarlab.redteam.inside NAME HINTS`: run one program, with hints as JSON."""

import json
import sys

from aarlab.redteam.inside import (
    PROGRAMS,
    fill_disk,
    kernel,
    network,
    others,
    read_files,
    resources,
)

REGISTERED = (fill_disk, kernel, network, others, read_files, resources)  # by their import

PROGRAMS[sys.argv[1]](json.loads(sys.argv[2]))
