# A line for each request, as JSON, without the headers that let others in.
c.TraefikProxy.extra_static_config = {
    "accessLog": {
        "filePath": "/var/log/jupyterhub/access.log",
        "format": "json",
        "fields": {"headers": {"defaultMode": "drop", "names": {"User-Agent": "keep"}}},
    },
}
