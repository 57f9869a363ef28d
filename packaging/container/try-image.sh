#!/usr/bin/env bash
# Starts what the container image contains, without a container engine: in a chroot, as the image's user, with
# nothing of this system but /dev/null and a name server's address. Needs root; arguments: the image's files, its user.
set -euo pipefail

tree=$1
user=$2
here=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$here"
}
trap finish EXIT
fail() { echo "image: $*" >&2; cat "$here/out" >&2 || true; exit 1; }
cp -a "$tree" "$here/tree"
chown "$user:$user" "$here/tree/var/lib/sendoff"
mkdir "$here/tree/dev"
mknod -m 666 "$here/tree/dev/null" c 1 3
# Another server may have the port.
sed -i 's/0.0.0.0:2525/127.0.0.1:2545/' "$here/tree/etc/sendoff/sendoff.toml"
# chroot itself needs root; the program does not.
inside=(chroot --userspec="$user:$user" --groups= "$here/tree" /usr/bin/sendoff)
run() { "${inside[@]}" "$@"; }
run check
# Not by the function: the process is to be known that is stopped.
"${inside[@]}" serve >"$here/out" 2>&1 &
server=$!
for _ in $(seq 100); do
    if run health >/dev/null 2>&1; then break; fi
    sleep 0.1
done
run health || fail "it is not healthy within 10 s"
python3 - <<'PYTHON'
import smtplib
with smtplib.SMTP("127.0.0.1", 2545) as smtp:
    smtp.sendmail("a@example.invalid", ["b@example.invalid"], "Subject: x\r\n\r\nHello.\r\n")
PYTHON
[ "$(run queue list --count | tr -dc 0-9)" = 1 ] || fail "the mail is not there"
kill -TERM "$server"
wait "$server" || fail "it ended with $?"
server=
echo "image: starts as $user, is healthy, takes a mail, and ends"
