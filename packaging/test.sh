#!/usr/bin/env bash
# Tries packages in fresh systems: lintian, the units' hardening, and on a bare Debian
# installation, use as the service's user, an upgrade with open payouts, removal and purge, after
# which the store must still be there. Needs root, debootstrap, lintian and systemd; what is
# missing is installed where that is known how.
#   packaging/test.sh DIST
set -euo pipefail
cd "$(dirname "$0")/.."
dist=$(realpath "$1")
arch=$(dpkg --print-architecture)
deb=$(echo "$dist"/masspay_*_"$arch".deb)
[ -f "$deb" ] || { echo "no package for $arch in $dist: make packages first" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "this needs root: it makes a system in a folder" >&2; exit 1; }

need=()
command -v debootstrap >/dev/null || need+=(debootstrap)
command -v lintian >/dev/null || need+=(lintian)
command -v systemd-analyze >/dev/null || need+=(systemd)
command -v rpm >/dev/null || need+=(rpm)
if [ ${#need[@]} -gt 0 ]; then
	apt-get update -q || true
	DEBIAN_FRONTEND=noninteractive apt-get install -qy "${need[@]}"
fi
say() { echo "== $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

say "lintian: no error, and no warning but the field that marks amd64's variant"
lintian --fail-on none --tag-display-limit 0 "$deb" | tee /tmp/lintian.$$
! grep -v Architecture-Variant /tmp/lintian.$$ | grep -E '^[EW]:' || fail "lintian"
rm -f /tmp/lintian.$$

work=$(mktemp -d)
root=$work/root
cleanup() {
	mountpoint -q "$root/proc" && umount "$root/proc"
	rm -rf "$work"
}
trap cleanup EXIT

say "the units: exposure 2.0 at the most, by systemd-analyze"
dpkg-deb -x "$deb" "$work/files"
for unit in "$work"/files/usr/lib/systemd/system/*.service; do
	case $unit in *@.service) continue ;; esac
	systemd-analyze security --offline=true --no-pager --threshold=20 "$unit" | tail -1
done

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
say "a bare Debian ($suite)"
debootstrap --variant=minbase "$suite" "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; fail debootstrap; }
mount -t proc proc "$root/proc"
in_root() { chroot "$root" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }
as_masspay() { in_root setpriv --reuid masspay --regid masspay --init-groups env HOME=/var/lib/masspay MASSPAY_CONFIG=/etc/masspay/masspay.yaml "$@"; }
cp "$deb" "$root/tmp/masspay.deb"
in_root apt-get install -qy --no-install-recommends systemd >"$work/systemd.log" 2>&1 || { tail "$work/systemd.log"; fail "systemd"; }

say "installation"
in_root dpkg -i /tmp/masspay.deb
in_root id masspay
[ "$(stat -c '%a %U' "$root/var/lib/masspay" 2>/dev/null || in_root stat -c '%a %U' /var/lib/masspay)" != "" ] || fail "no folder for the store"
in_root test -f /usr/share/man/man1/masspay-run.1.gz || fail "no man page"
in_root test -f /usr/share/bash-completion/completions/masspay || fail "no completion"
in_root test -f /usr/share/doc/masspay/docs/how-to/server.md || fail "no documentation"
! in_root systemctl is-enabled masspay.service 2>/dev/null || fail "the installation has enabled a service"
as_masspay masspay version
as_masspay masspay demo >"$work/demo.log" 2>&1 || { tail "$work/demo.log"; fail "the demo"; }

say "a store with open payouts"
in_root masspay init --config /etc/masspay/masspay.yaml
[ "$(in_root stat -c '%a %U %G' /etc/masspay/masspay.yaml)" = "640 root masspay" ] || fail "the configuration's rights"
sed -i 's#https://gate.example .*#http://127.0.0.1:9#' "$root/etc/masspay/masspay.yaml"
in_root sh -c 'install -o masspay -g masspay -m 600 /dev/null /etc/masspay/1234.secret && echo secret >/etc/masspay/1234.secret'
as_masspay masspay init
cp samples/kyrgyzstan.csv "$root/tmp/file.csv"
as_masspay sh -c 'masspay run /tmp/file.csv -o /var/lib/masspay/result.csv' && fail "a gate that is not there has paid" || true
before=$(as_masspay masspay status --json)
grep -q kyrgyzstan\\\|file.csv <<<"$before" || fail "the file was not loaded"

say "an upgrade"
in_root dpkg -i /tmp/masspay.deb >/dev/null
[ "$(as_masspay masspay status --json)" = "$before" ] || fail "the upgrade has changed what is open"
as_masspay masspay doctor

say "removal, purge, and the store is still there"
in_root dpkg -r masspay >/dev/null
in_root test -f /var/lib/masspay/masspay.db || fail "the removal has removed the store"
in_root dpkg --purge masspay >/dev/null
in_root test -f /var/lib/masspay/masspay.db || fail "the purge has removed the store"
in_root test -f /etc/masspay/masspay.yaml || fail "the purge has removed the configuration"
in_root id masspay >/dev/null || fail "the purge has removed the user"
in_root dpkg -i /tmp/masspay.deb >/dev/null
[ "$(as_masspay masspay status --json)" = "$before" ] || fail "after a purge the store is another"

say "the packages of other systems"
for f in "$dist"/*.apk; do [ "$(tar --ignore-zeros -tzf "$f" 2>/dev/null | grep -c '^usr/bin/masspay$')" = 1 ] || fail "$f"; done
for f in "$dist"/*.rpm; do [ "$(rpm -qlp "$f" 2>/dev/null | grep -c '^/usr/bin/masspay$')" = 1 ] || fail "$f"; done
say "the rpm, by rpm, in the same system: its scripts find no init system, as in an image"
in_root dpkg --purge masspay >/dev/null
rpmarch=$(case $arch in amd64) echo x86_64 ;; arm64) echo aarch64 ;; esac)
by_rpm() { rpm --root "$root" --nodeps "$@" 2> >(grep -v "should not be used directly\|you know what you are doing" >&2); }
by_rpm -i --ignorearch "$dist"/masspay-*."$rpmarch".rpm
[ "$(as_masspay masspay status --json)" = "$before" ] || fail "under the rpm the store is another"
by_rpm -U --force --ignorearch "$dist"/masspay-*."$rpmarch".rpm
as_masspay masspay doctor
by_rpm -e masspay
in_root test ! -e /usr/bin/masspay || fail "the rpm has left its program"
in_root test -f /var/lib/masspay/masspay.db || fail "the removal of the rpm has removed the store"
if [ -f "$dist/image/index.json" ]; then
	say "the image, as its user, in a root that cannot be written"
	mkdir "$work/image"
	machine=$(case $arch in amd64) echo 3e ;; arm64) echo b7 ;; esac)
	for blob in "$dist"/image/blobs/sha256/*; do
		gzip -t "$blob" 2>/dev/null || continue
		tar -xzOf "$blob" masspay >"$work/program"
		[ "$(od -An -tx1 -j18 -N1 "$work/program" | tr -d ' ')" = "$machine" ] || continue
		tar -xzf "$blob" -C "$work/image"
	done
	[ -x "$work/image/masspay" ] || fail "no program for $arch in the image"
	chroot --userspec=65532:65532 "$work/image" /masspay version
	chroot --userspec=65532:65532 "$work/image" /masspay licenses >"$work/licences"
	grep -q "Apache License" "$work/licences" || fail "licences"
fi
say "all is well"
