"""Rows of ``efficiency/*.csv`` from measured operators."""
