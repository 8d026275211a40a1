"""Deployments: what is legal, what fits, and the closed-form answer."""
