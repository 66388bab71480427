"""Executions in the daemon: the engine on this machine's disk, with its logs, source trees, metrics and traces."""
