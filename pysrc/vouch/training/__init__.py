"""The training engine: which chunks, in which order, and the loop over them."""
