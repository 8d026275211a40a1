"""Planning: which deployments are best for a load, what they cost, and why these."""
