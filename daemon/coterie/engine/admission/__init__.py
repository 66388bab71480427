"""Who may start now: limits, priorities and fairness over all executions of an engine. No I/O, no clock."""
