"""Whatever proposes and tests ideas. The kinds that ship are registered by
`aarlab.researchers.kinds`."""
