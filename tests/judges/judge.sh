#!/bin/sh
# opendkim-testmsg over a directory of messages, in one shell.
#
# judge.sh DIRECTORY RESOLV_CONF, in a mount namespace of its own: every `*.rsa` and `*.ed25519` is a
# message with one signature; for each a line: its name, and `pass` or what the judge objects to.
mount --bind "$2" /etc/resolv.conf || exit 1
for file in "$1"/*.rsa "$1"/*.ed25519; do
    if objection=$(opendkim-testmsg <"$file" 2>&1); then objection=pass; fi
    echo "${file##*/} $(echo "$objection" | head -1)"
done
