"""Tables, charts and pages from results; computes nothing."""
