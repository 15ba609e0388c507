"""Runs one Traefik process and checks what it serves. The modules here do I/O, never on the event loop."""
