"""Settings of all tests."""

from hypothesis import settings

# An example may take as long as a busy machine needs: a test that measures time fails for two reasons.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
