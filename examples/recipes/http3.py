# HTTP/3, over UDP at the same port, which the firewall must let through. It needs https.
c.TraefikProxy.traefik_entrypoint = "https"
c.TraefikProxy.extra_static_config = {"entryPoints": {"https": {"http3": {}}}}
