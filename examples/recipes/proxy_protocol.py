# A load balancer at 10.0.0.5 that passes on TCP, with the PROXY protocol, which tells the address of the browser.
c.TraefikProxy.traefik_entrypoint = "http"
c.TraefikProxy.extra_static_config = {
    "entryPoints": {"http": {"proxyProtocol": {"trustedIPs": ["10.0.0.5"]}}},
}
