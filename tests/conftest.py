"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("cristae", deadline=None)  # the first call of a compiled loop may have to compile it
settings.load_profile("cristae")
