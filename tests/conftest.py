"""Settings of the whole test suite."""

from hypothesis import HealthCheck, settings

# The same examples in every run: a failure is that of the change under test. There is no time limit for one example, as
# machines differ. To look for new examples: pytest --hypothesis-profile=search
SLOW_DATA = [HealthCheck.too_slow]
settings.register_profile(
    "evolute", deadline=None, derandomize=True, database=None, max_examples=50, suppress_health_check=SLOW_DATA
)
settings.register_profile("search", deadline=None, max_examples=2000, suppress_health_check=SLOW_DATA)
settings.load_profile("evolute")
