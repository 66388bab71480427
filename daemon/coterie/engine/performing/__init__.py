"""Performs executions: what the machine and the admission decide is kept first and acted on then."""
