"""Serving under load: requests arrive, wait, are batched, prefilled, decoded, moved, and leave."""
