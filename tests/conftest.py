"""What holds for all tests: how hypothesis searches, and that a failing case can be had again."""

from hypothesis import HealthCheck, settings

# No deadline and no health check of speed: a machine that does three things at once is slow, not
# wrong. The blob printed with a failure is its seed: paste it as @reproduce_failure to run that one
# case.
settings.register_profile(
    "postalynk", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("postalynk")
