"""Importing this module registers the kinds of researcher that ship."""

from aarlab.researchers import claude_code as claude_code
from aarlab.researchers import command as command
from aarlab.researchers import search as search
from aarlab.researchers.researcher import RESEARCHERS as RESEARCHERS
