#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# systemctl of a host of a crowd, which has no systemd: it remembers what is enabled and active, and starts no service.
# Beside nat-failover.service something answers on its control socket (answerer.py), which a reload touches.
state=/run/crowd-units
mkdir -p "$state"
command=$1
shift
started() {
	touch "$state/$unit.active" "$state/$unit.loaded"
	[ "$unit" != nat-failover.service ] || answer
}
ended() {
	[ "$unit" != nat-failover.service ] || [ ! -e "$state/answerer" ] || kill "$(cat "$state/answerer")" 2>/dev/null || :
}
answer() {
	ended
	setsid /usr/bin/python3 /usr/local/bin/crowd-answerer </dev/null >/dev/null 2>&1 &
	echo $! >"$state/answerer"
}
show() {
	file=/etc/systemd/system/$1 loaded=$state/$1.loaded
	[ -e "$file" ] || { printf 'Id=%s\nLoadState=not-found\nActiveState=inactive\n' "$1"; return; }
	[ -e "$state/$1.active" ] && active=active || active=inactive
	[ -e "$state/$1.enabled" ] && enabled=enabled || enabled=disabled
	[ -e "$loaded" ] && [ "$file" -nt "$loaded" ] && reload=yes || reload=no
	printf 'Id=%s\nLoadState=loaded\nActiveState=%s\nUnitFileState=%s\nNeedDaemonReload=%s\n' "$1" "$active" "$enabled" "$reload"
}
case ${1-} in --property=*) shift ;; esac # it shows more than is asked for
unit=${1-}
case $command in
show)
	while show "$1" && shift && [ $# -gt 0 ]; do echo; done
	;;
is-active) [ -e "$state/$unit.active" ] && echo active || { echo inactive; exit 3; } ;;
is-enabled) [ -e "$state/$unit.enabled" ] && echo enabled || { echo disabled; exit 1; } ;;
enable) touch "$state/$unit.enabled" ;;
disable) rm -f "$state/$unit.enabled" ;;
start | restart | reload-or-restart) started ;;
reload)
	[ -e "$state/$unit.active" ] || { echo "$unit is not active, cannot reload." >&2; exit 1; }
	started
	;;
stop)
	rm -f "$state/$unit.active"
	ended
	;;
daemon-reload)
	for loaded in "$state"/*.loaded; do [ ! -e "$loaded" ] || touch "$loaded"; done
	;;
*) echo "a host of a crowd has no systemctl $command" >&2; exit 1 ;;
esac
