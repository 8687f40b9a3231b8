"""RbM: experts routed by a memory, how its routing starts and how it moves."""
