"""From the rows of a request to its predictions, in batches with whoever else waits."""
