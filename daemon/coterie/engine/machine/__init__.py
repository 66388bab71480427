"""The state machine of one execution: what happened in, what is to be done out. No I/O, no clock."""
