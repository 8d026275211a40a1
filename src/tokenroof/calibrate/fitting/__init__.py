"""Parameters of ``catalog.tuning`` from measured servings."""
