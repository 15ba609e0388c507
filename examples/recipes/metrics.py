# Traefik's metrics for Prometheus, on an entry point of their own: curl http://127.0.0.1:9101/metrics
c.TraefikProxy.extra_static_config = {
    "entryPoints": {"metrics": {"address": "127.0.0.1:9101"}},
    "metrics": {"prometheus": {"entryPoint": "metrics", "addServicesLabels": False}},
}
