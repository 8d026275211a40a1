"""Facts and their sources: chips, memories, links, nodes, engines, models, prices."""
