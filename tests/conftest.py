"""What holds for every test: property tests are the same at each run, and a slow machine is no failure."""

from hypothesis import settings

settings.register_profile("dmsnap", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("dmsnap")
