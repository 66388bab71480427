"""Tests start from the signal handling of a foreground program, also where the runner itself ignores SIGINT."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
