"""Attackers and honest researchers as programs, to measure what the evaluator's answers are worth
to either."""
