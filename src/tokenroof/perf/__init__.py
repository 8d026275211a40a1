"""Operators become seconds and joules on a machine."""
