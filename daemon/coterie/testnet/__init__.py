"""A coterie of several real daemons on this machine, for trying things out and for tests."""
