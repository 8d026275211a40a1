"""Shared by every test: deterministic property tests."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "tokenroof",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tokenroof")
