"""What looks wrong in the ledger's history: one file a detector, all in `DETECTORS`. Importing this
registers them."""

from aarlab.evaluation.detectors import answer_overlap as answer_overlap
from aarlab.evaluation.detectors import judged as judged
from aarlab.evaluation.detectors import near_copies as near_copies
from aarlab.evaluation.detectors import random_answers as random_answers
from aarlab.evaluation.detectors import redraws as redraws
from aarlab.evaluation.detectors import rerolls as rerolls
from aarlab.evaluation.detectors import reused_runs as reused_runs
from aarlab.evaluation.detectors import same_code as same_code
from aarlab.evaluation.detectors import trivial_answers as trivial_answers
from aarlab.evaluation.detectors.contract import DETECTORS as DETECTORS
from aarlab.evaluation.detectors.contract import Context as Context
from aarlab.evaluation.detectors.contract import Detector as Detector
from aarlab.evaluation.detectors.contract import Flag as Flag
from aarlab.evaluation.detectors.contract import Submitted as Submitted
from aarlab.evaluation.detectors.contract import Suspicion as Suspicion
from aarlab.evaluation.detectors.contract import Text as Text
from aarlab.evaluation.detectors.contract import Watch as Watch
from aarlab.evaluation.detectors.contract import detector as detector
from aarlab.evaluation.detectors.public import read_context as read_context
