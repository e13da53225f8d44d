"""The benchmarks by name: NAME.yaml says what a set is, NAME.rows which questions and golds it has, as digests."""
