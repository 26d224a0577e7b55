"""Settings of the whole test suite."""

import os

from hypothesis import HealthCheck, settings

# NumPy's linear algebra is the reference for small matrices, on which its threads only get in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The same examples in every run: a failure is that of the change under test. There is no time limit for one example, as
# machines differ. To look for new examples: pytest --hypothesis-profile=search
SLOW_DATA = [HealthCheck.too_slow]
settings.register_profile(
    "evolute", deadline=None, derandomize=True, database=None, max_examples=50, suppress_health_check=SLOW_DATA
)
settings.register_profile("search", deadline=None, max_examples=2000, suppress_health_check=SLOW_DATA)
settings.load_profile("evolute")
