#!/bin/sh
# Makes an authority with one certificate for all members of etcd, and a password for each user of etcd, in the folder secrets.
set -eu
umask 077
mkdir secrets.new
cd secrets.new

key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $key -days 3650 -subj "/CN=etcd of the Hub" -keyout ca.key -out ca.crt
openssl req $key -subj /CN=etcd -keyout etcd.key -out etcd.csr
# The addresses of all members. Each is also the client of the others.
cat >etcd.ext <<END
subjectAltName = IP:127.0.0.1, IP:127.0.0.2, IP:127.0.0.3
extendedKeyUsage = serverAuth, clientAuth
END
openssl x509 -req -in etcd.csr -extfile etcd.ext -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out etcd.crt
rm etcd.csr etcd.ext

for user in root hub agent; do
    openssl rand -hex 32 >"$user"
done
cd ..
mv secrets.new secrets
