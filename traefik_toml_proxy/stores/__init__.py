"""The stores that keep the routes, one module for each. Each module says whether it is pure or does I/O."""
