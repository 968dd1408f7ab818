"""The catalogue of small-code: what a function may be asked to do, with right bodies, and how these
are varied."""
