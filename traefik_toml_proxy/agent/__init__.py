"""What runs beside each Traefik when the routes are in etcd. Importing it starts nothing, and needs no JupyterHub."""
