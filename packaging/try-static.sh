#!/usr/bin/env bash
# Runs the statically linked binary on this system: as root, as a user that the system knows, and as one that it does not
# know. Each time it checks, starts in its sandbox, takes mail by SMTP and from a program, finds a relay by the hosts
# file, and ends. Needs root, python3, setpriv; the argument is the binary.
set -euo pipefail

binary=$(realpath "$1")
here=$(mktemp -d)
chmod 711 "$here"
server=
finish() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    rm -rf "$here"
}
trap finish EXIT
fail() { echo "static: as $uid: $*" >&2; cat "$here/$uid/out" >&2 || true; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# Others may read it, wherever it was built.
install -m 755 "$binary" "$here/sendoff"

for uid in 0 65534 12345; do
    dir=$here/$uid
    mkdir -m 711 "$dir"
    install -d -m 711 -o "$uid" -g "$uid" "$dir/data"
    port=$(free_port)
    cat >"$dir/sendoff.toml" <<TOML
hostname = "mail.example.com"
data_dir = "$dir/data"
user = "$(getent passwd "$uid" | cut -d: -f1 || true)"
[[listener]]
address = "127.0.0.1:$port"
[console]
address = ""
[outgoing]
enabled = false
mode = "relay"
[outgoing.relay]
host = "localhost"
[log]
file = "$dir/data/log"
TOML
    # Nobody is named whom the system does not know.
    sed -i '/^user = ""/d' "$dir/sendoff.toml"
    inside=(setpriv --reuid "$uid" --regid "$uid" --clear-groups "$here/sendoff" --config "$dir/sendoff.toml")
    run() { "${inside[@]}" "$@" >"$dir/said" 2>&1 || fail "$1 ended with $?: $(cat "$dir/said")"; }
    run check
    # Not by the function: the process is to be known that is stopped.
    "${inside[@]}" serve >"$dir/out" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        if "${inside[@]}" health >/dev/null 2>&1; then break; fi
        kill -0 "$server" 2>/dev/null || fail "it has ended"
        sleep 0.1
    done
    run health
    python3 - "$port" <<'PYTHON'
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as smtp:
    smtp.sendmail("a@example.com", ["b@example.net"], "Subject: x\r\n\r\nHello.\r\n")
PYTHON
    printf 'Subject: x\n\nHello.\n' | "${inside[@]}" sendmail b@example.net >"$dir/said" 2>&1 ||
        fail "sendmail: $(cat "$dir/said")"
    for _ in $(seq 100); do
        if [ "$("${inside[@]}" queue list --count | tr -dc 0-9)" = 2 ]; then break; fi
        sleep 0.1
    done
    [ "$("${inside[@]}" queue list --count | tr -dc 0-9)" = 2 ] || fail "the two mails are not in the queue"
    run explain b@example.net
    grep -q '127.0.0.1\|::1' "$dir/said" || fail "localhost is not found: $(cat "$dir/said")"
    run user list
    run key list
    kill -TERM "$server"
    wait "$server" || fail "it ended with $?"
    server=
done
echo "static: runs as root, as nobody, and as a user without a name"
