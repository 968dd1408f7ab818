"""problem -> items: the contract, publish, and one problem per file. Importing the package
registers what ships."""

from aarlab.problems import generated_chat as generated_chat
from aarlab.problems import generated_checks as generated_checks
from aarlab.problems import small_chat as small_chat
from aarlab.problems import small_chat_easy as small_chat_easy
from aarlab.problems import small_code as small_code
from aarlab.problems import small_math as small_math
from aarlab.problems.registered import PROBLEMS as PROBLEMS
from aarlab.problems.study import chat as chat
from aarlab.problems.study import code as code
from aarlab.problems.study import math as math
