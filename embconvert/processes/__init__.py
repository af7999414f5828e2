"""Child processes that do the heavy work, and what this machine lets them use."""
