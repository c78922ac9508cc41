#!/bin/sh
# receiver.sh ROOT BASE COMMAND...: run a mail server that was unpacked below ROOT, not installed.
#
# Called by `unshare --mount`, so what it mounts nobody else sees. Its users are those of
# BASE/passwd and BASE/group; where it insists on a place of its own, that place is below BASE.
set -eu
root=$1 base=$2
shift 2
mount --make-rprivate /
for file in passwd group; do
    mount --bind "$base/$file" "/etc/$file"
done
# OpenSMTPD's helpers, queue, empty directory and control socket have fixed names.
if [ -d "$base/smtpd" ]; then
    mount -t tmpfs none /usr/libexec
    mkdir /usr/libexec/opensmtpd
    mount --bind "$root/usr/libexec/opensmtpd" /usr/libexec/opensmtpd
    for place in spool lib; do
        mount --bind "$base/smtpd/$place" "/var/$place"
    done
    mount --bind "$base/smtpd/run" /run
fi
exec "$@"
