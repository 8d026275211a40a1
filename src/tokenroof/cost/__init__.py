"""Money, energy and carbon from rates and durations."""
