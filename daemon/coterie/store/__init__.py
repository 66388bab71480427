"""Keeps the events of the clock, and little else, in one SQLite file."""
