# For all three agents; supervisord.conf has what differs.
c.AgentApp.etcd_endpoints = ["https://127.0.0.1:2379", "https://127.0.0.2:2379", "https://127.0.0.3:2379"]
c.AgentApp.etcd_ca = "secrets/ca.crt"
c.AgentApp.etcd_username = "agent"
c.AgentApp.etcd_password_file = "secrets/agent"

# HAProxy says who the users are.
c.AgentApp.trusted_proxies = ["127.0.0.1"]
