#!/bin/sh
# For Helm's --post-renderer: takes what Helm has rendered, and prints it without configurable-http-proxy.
set -eu
umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$(dirname "$0")/kustomization.yaml" "$folder"
cat >"$folder/rendered.yaml"
kubectl kustomize "$folder"
