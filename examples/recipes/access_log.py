# A line for each request, as JSON, without the headers that let others in. Paths have their queries, in which there can be
# tokens, and Traefik lets everybody read the file: only admins and the user of the Hub may have access to its folder.
c.TraefikProxy.extra_static_config = {
    "accessLog": {
        "filePath": "/var/log/jupyterhub/access.log",
        "format": "json",
        "fields": {
            "names": {"ServiceURL": "drop"},  # when a server fails, it has a path that only the proxy is to know
            "headers": {"defaultMode": "drop", "names": {"User-Agent": "keep"}},
        },
    },
}
