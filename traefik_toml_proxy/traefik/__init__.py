"""Makes the static and dynamic configuration of Traefik, as plain values. Pure."""
