"""What is trained to answer without the graph: experts, routed by a memory, a learnt router, or not at
all."""
