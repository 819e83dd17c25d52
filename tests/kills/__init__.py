"""Real kills: carbon's and our own, stuck peers, clocks that are set, and the memory that all this takes."""
