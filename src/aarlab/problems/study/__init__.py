"""The study's own problems, from public data sets: chat preference; math and code verification for
transfer."""
