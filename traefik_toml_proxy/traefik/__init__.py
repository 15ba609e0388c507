"""All that knows Traefik; pure, but for process.py and probe.py."""
