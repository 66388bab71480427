"""What all peers must agree on: synchronous, deterministic, free of I/O."""
