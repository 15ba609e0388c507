import os

c.JupyterHub.proxy_class = "traefik-toml"
c.Proxy.should_start = False

# The volume that both containers have. Traefik reads it as another user, who is in this group.
c.TraefikTomlProxy.dynamic_config_file = "/routes/jupyterhub.toml"
c.TraefikTomlProxy.dynamic_config_file_group = "1000"

# The other container, at the entry point for users. Traefik reaches itself there as well.
c.TraefikProxy.traefik_entrypoint = "web"
c.TraefikProxy.traefik_url = "http://traefik:8000"

# Traefik reaches the Hub, and users' servers, at the name of this container.
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"

# The Hub cannot see the connections in another container.
c.TraefikProxy.track_activity = False

c.JupyterHub.db_url = "sqlite:////data/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/data/cookie_secret"

# To try it: anybody who knows the password can have any name, and all servers run in this container, as one user.
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = os.environ["HUB_PASSWORD"]
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.Spawner.ip = "0.0.0.0"
c.Spawner.args = ["--allow-root"]
