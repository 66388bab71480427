"""What is kept of executions, in one SQLite file."""
