"""The command line: ``main`` has the application, every other module one subcommand. Importing it starts nothing."""
