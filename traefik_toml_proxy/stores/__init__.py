"""Where the routes are kept: a module for each store; each module says whether it is pure or does I/O."""
