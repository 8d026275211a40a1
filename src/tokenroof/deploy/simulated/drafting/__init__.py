"""What speculates: how many tokens, how many are right, what drafting costs; one type per way."""
