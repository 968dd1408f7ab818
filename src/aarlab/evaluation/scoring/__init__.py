"""Scores and what is released of them. Importing the package registers the policies that ship."""

from aarlab.evaluation.scoring import default_policy as default_policy
