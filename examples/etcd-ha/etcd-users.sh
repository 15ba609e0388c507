#!/bin/sh
# Makes the users of etcd with their roles, and turns on authentication. The passwords are in the folder secrets.
# Set ETCDCTL_ENDPOINTS, and ETCDCTL_CACERT with https. Run it again if it fails: it does what is left to do.
set -eu

# In the environment, as others can see the arguments of a process.
as_root() { ETCDCTL_USER="root:$(cat secrets/root)" etcdctl "$@"; }
if ! etcdctl user list >/dev/null 2>&1 && as_root user list >/dev/null; then
    echo "Authentication is on already."
    exit
fi

role() { etcdctl role get "$1" >/dev/null 2>&1 || etcdctl role add "$1"; }
user() {
    etcdctl user get "$1" >/dev/null 2>&1 || etcdctl user add "$1" --interactive=false <"secrets/$1"
    etcdctl user grant-role "$1" "$1"
}

# The Hub writes everything below its etcd_root.
role hub
etcdctl role grant-permission hub --prefix=true readwrite /jupyterhub/
user hub

# An agent reads the routes, and writes only what its replica serves.
role agent
etcdctl role grant-permission agent --prefix=true read /jupyterhub/table/
etcdctl role grant-permission agent --prefix=true readwrite /jupyterhub/replicas/
user agent

role root
user root
etcdctl auth enable
