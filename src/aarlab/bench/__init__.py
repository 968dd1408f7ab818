"""Methods x problems x seeds -> a table with intervals, figures, controls and cards: what `aar
bench` measures."""
