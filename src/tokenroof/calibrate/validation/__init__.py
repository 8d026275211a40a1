"""Predicted against measured servings, row by row."""
