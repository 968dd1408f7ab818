"""Scores and what is released of them. Importing the package registers the policies that ship."""

from aarlab.evaluation.scoring import metered_ladder as metered_ladder
