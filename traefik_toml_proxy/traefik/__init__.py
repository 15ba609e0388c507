"""All that knows Traefik; each module says on its first line whether it is pure or does I/O."""
