"""Settings of the whole test suite."""

from hypothesis import HealthCheck, settings

# The same examples in every run: a failure is that of the change under test. There is no time limit for one example, as
# machines differ.
settings.register_profile(
    "evolute", deadline=None, derandomize=True, database=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("evolute")
