"""What holds for every test: property tests are the same at each run, and a slow machine is no failure."""

import signal

from hypothesis import settings

settings.register_profile("dmsnap", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("dmsnap")

# Whoever starts the tests in the background has them ignore these, and so would the programs they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
