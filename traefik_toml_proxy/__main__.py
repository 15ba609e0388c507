"""``python -m traefik_toml_proxy``: runs ``cli.main``, which does I/O."""

from .cli.main import main

if __name__ == "__main__":
    main()
