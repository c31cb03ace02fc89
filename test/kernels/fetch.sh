#!/bin/sh
# fetch.sh DIR: puts the kernels that Debian 12 offers into DIR as vmlinuz-VERSION, from their packages, which are not installed.
set -eu
mkdir -p "$1"
cd "$1"
for meta in linux-image-cloud-amd64 linux-image-6.12-cloud-amd64; do
	package=$(apt-cache depends "$meta" | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')
	[ -n "$package" ] || { echo "fetch.sh: no package $meta: apt-get update, and bookworm-security among the sources" >&2; exit 1; }
	version=${package#linux-image-}
	[ ! -e "vmlinuz-$version" ] || continue
	echo "fetch.sh: downloading $package"
	apt-get download -qq "$package" 2>/dev/null
	dpkg-deb --fsys-tarfile "$package"_*.deb | tar -xO "./boot/vmlinuz-$version" >vmlinuz.part
	mv vmlinuz.part "vmlinuz-$version"
	rm -f "$package"_*.deb
done
