"""How fast, how much memory, how many chips, what cost, what energy, what carbon, and why."""
