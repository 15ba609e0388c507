# Only these addresses are let in; everybody else gets 403.
c.TraefikProxy.route_middlewares = {
    "campus": {"ipAllowList": {"sourceRange": ["10.0.0.0/8", "2001:db8::/32"]}},
}
