"""The proxy classes that JupyterHub loads: each reads its traits and opens a session; a module for each class."""
