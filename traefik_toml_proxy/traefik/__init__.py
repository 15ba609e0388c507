"""What Traefik is told: its static and dynamic configuration, as plain values, and no I/O. Pure."""
