#!/bin/sh
# Copies a certificate that certbot has renewed, and that only root can read, to where Sendoff reads it, and reloads
# Sendoff. To be put into /etc/letsencrypt/renewal-hooks/deploy/, and run once by hand:
#   RENEWED_LINEAGE=/etc/letsencrypt/live/mail.example.com ./deploy-certificate.sh
# The configuration names the copies:
#   [tls]
#   certificate = "tls/mail.example.com.pem"
#   private_key = "tls/mail.example.com.key"
set -eu

group=sendoff
to=/etc/sendoff/tls
name=$(basename "$RENEWED_LINEAGE")

install -d -m 0750 -o root -g "$group" "$to"
# Each is whole at any moment; Sendoff reads both when it is told to, after that.
copy() {
    install -m 0640 -o root -g "$group" "$RENEWED_LINEAGE/$1" "$to/$name.$2.new"
    mv -f "$to/$name.$2.new" "$to/$name.$2"
}
copy privkey.pem key
copy fullchain.pem pem

if systemctl --quiet is-active sendoff.service; then
    systemctl reload sendoff.service
fi
