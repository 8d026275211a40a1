"""Measured operators against the model: residuals, later fits and validation."""
