#!/bin/sh
# Runs everything until Ctrl+C.
set -eu
cd "$(dirname "$0")"
[ -d secrets ] || sh make-secrets.sh
mkdir -p -m 700 data
# Debian has HAProxy where not every user looks.
PATH=$PATH:/usr/sbin exec supervisord --nodaemon --configuration supervisord.conf
