"""A source-filter speech synthesiser on arrays, and the plan of the embedded two-domain corpus made with it."""
