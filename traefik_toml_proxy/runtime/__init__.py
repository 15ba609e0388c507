"""One Traefik process and everything that is asked of it. The modules here do I/O, never on the event loop."""
