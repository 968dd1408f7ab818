"""Importing this module registers the built-in kinds of researcher in `RESEARCHERS`, which also
loads an operator's own kind by the path of its file (`mine.py`)."""

from aarlab.researchers import claude_code as claude_code
from aarlab.researchers import command as command
from aarlab.researchers import search as search
from aarlab.researchers.researcher import RESEARCHERS as RESEARCHERS
