"""``python -m traefik_toml_proxy``: runs the command in cli.py, which does I/O."""

from .cli import main

if __name__ == "__main__":
    main()
