#!/usr/bin/env bash
# Installs the package in a clean Debian system, starts the server there as its unit would, and
# sends a mail by the sendmail command as a user without rights; then removes and purges it.
#
# Needs root, mmdebstrap, python3, setpriv; takes the package as its argument.
set -euo pipefail

package=$1
suite=${2:-bookworm}
here=$(mktemp -d)
root=$here/root
server=
listener=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$listener" ] || kill "$listener" 2>/dev/null || true
    rm -rf "$here"
}
trap finish EXIT
say() { echo "== package: $*"; }
fail() { echo "package: $*" >&2; cat "$here"/server.out "$here"/told 2>/dev/null >&2; exit 1; }
# Waits until a command succeeds.
until_it() { for _ in $(seq 300); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.1; done; fail "not within 30 s: $*"; }
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

say "a clean $suite"
mmdebstrap --quiet --variant=essential --include=passwd,debconf,ucf --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    "$suite" "$root"

say "installing, with answers given in advance"
cp "$package" "$root/sendoff.deb"
inside debconf-set-selections <<'ANSWERS'
sendoff sendoff/hostname string mail.example.com
sendoff sendoff/root_mail string you@example.com
ANSWERS
inside env DEBIAN_FRONTEND=noninteractive dpkg -i /sendoff.deb
inside sendoff check
for line in 'hostname = "mail.example.com"' '[aliases]' 'root = "you@example.com"'; do
    grep -qxF "$line" "$root/etc/sendoff/sendoff.toml" || fail "the file lacks the answer: $line"
done

say "links in the documents lead somewhere"
python3 - "$root/usr/share/doc/sendoff" <<'PYTHON'
import pathlib, re, sys
docs = pathlib.Path(sys.argv[1])
lost = [f"{page.name}: {link}"
        for page in docs.iterdir() if page.suffix == ".md" or page.name == "NEWS"
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (docs / link).exists()]
sys.exit("\n".join(lost) if lost else 0)
PYTHON

say "a changed file stays as it is through an upgrade"
echo '# changed by hand' >>"$root/etc/sendoff/sendoff.toml"
inside env DEBIAN_FRONTEND=noninteractive dpkg -i /sendoff.deb
grep -q '^# changed by hand' "$root/etc/sendoff/sendoff.toml" || fail "the upgrade has replaced a changed file"

modes=$(inside stat -c '%a %U %G %n' /var/lib/sendoff /var/lib/sendoff/drop /etc/sendoff /etc/sendoff/sendoff.toml)
wanted="711 sendoff sendoff /var/lib/sendoff
3733 sendoff sendoff /var/lib/sendoff/drop
750 root sendoff /etc/sendoff
640 root sendoff /etc/sendoff/sendoff.toml"
[ "$modes" = "$wanted" ] || fail "modes are not as they should be: $modes"

say "handing in a mail while the server is down"
inside useradd --create-home program
as_program() { inside setpriv --reuid program --regid program --clear-groups "$@"; }
printf 'Subject: early\n\nHello.\n' | as_program /usr/sbin/sendmail someone@example.invalid

say "starting as the unit does"
python3 - "$root/run/notify" "$here/told" <<'PYTHON' &
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
with open(sys.argv[2], 'a', buffering=1) as told:
    while True:
        told.write(s.recv(4096).decode() + '\n')
PYTHON
listener=$!
until_it test -S "$root/run/notify"
command=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/sendoff.service")
# A port of its own: this is not the only mail server of the machine, perhaps.
# Mail waits to be looked at.
sed -i -e 's/^address = .*/address = "127.0.0.1:2526"/' -e 's/^\[outgoing\]/&\nenabled = false/' \
    "$root/etc/sendoff/sendoff.toml"
# shellcheck disable=SC2086
chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin NOTIFY_SOCKET=/run/notify \
    setpriv --reuid sendoff --regid sendoff --clear-groups --no-new-privs \
    $command >"$here/server.out" 2>&1 &
server=$!
until_it grep -q READY=1 "$here/told"

say "handing in a mail while it runs"
printf 'To: someone@example.invalid\nSubject: late\n\nHello.\n' | as_program sendmail -t
queued() { [ "$(inside sendoff queue list --count 2>/dev/null | tr -dc 0-9)" = "$1" ]; }
until_it queued 2
inside mailq
inside sendoff queue list --json | grep -q '"sender": *"program@' || fail "the sender is not program"

say "stopping"
kill -TERM "$server"
wait "$server" || fail "the server ended with $?"
server=
grep -q STOPPING=1 "$here/told" || fail "the end was not told"

say "removing"
inside dpkg --purge sendoff
[ ! -e "$root/etc/sendoff" ] && [ ! -e "$root/usr/bin/sendoff" ] || fail "files are left"
[ -d "$root/var/lib/sendoff/spool" ] || fail "the queue, with mail in it, is gone"
say "done"
