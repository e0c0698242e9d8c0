"""Hypothesis profiles: `fuzz` looks far longer than a test run does (`make fuzz`)."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz", max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck)
)
