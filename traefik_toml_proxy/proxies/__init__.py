"""The proxy classes that JupyterHub loads, one module for each. A class reads its traits and opens a session."""
