# The same behind another proxy, here at 10.0.0.5: what counts is the address that it has seen. Who comes past it gets 403.
c.TraefikProxy.trusted_proxies = ["10.0.0.5"]
c.JupyterHub.trusted_downstream_ips = ["10.0.0.5"]
c.TraefikProxy.route_middlewares = {
    "campus": {
        "ipAllowList": {
            "sourceRange": ["10.0.0.0/8", "2001:db8::/32"],
            "ipStrategy": {"excludedIPs": ["10.0.0.5"]},  # of the addresses in X-Forwarded-For, the last but for these
        }
    },
}
