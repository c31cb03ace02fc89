#!/bin/sh
# fetch.sh DIR: puts the kernels that Debian 12 offers into DIR as vmlinuz-VERSION-ARCH, and a busybox-ARCH, from their packages, which are not
# installed. Packages of another architecture come through lists of their own, so that nothing on this machine learns of it.
set -eu
mkdir -p "$1"
cd "$1"

# apt ARCH: sets $apt to the options with which apt-get and apt-cache speak of that architecture.
apt() {
	apt=
	[ "$1" != "$(dpkg --print-architecture)" ] || return 0
	root=$PWD/apt-$1
	apt="-o APT::Architecture=$1 -o APT::Architectures=$1 -o Dir::State=$root -o Dir::State::status=$root/status -o Dir::Cache=$root"
	[ ! -e "$root/status" ] || return 0
	mkdir -p "$root/lists/partial" "$root/archives/partial"
	apt-get $apt update -qq
	touch "$root/status"
}

# download PACKAGE FILE AS: the file of that name in the package, as AS.
download() {
	[ ! -e "$3" ] || return 0
	echo "fetch.sh: downloading $1"
	apt-get $apt download -qq "$1" 2>/dev/null
	dpkg-deb --fsys-tarfile "$1"_*.deb | tar -xO "./$2" >part
	mv part "$3"
	rm -f "$1"_*.deb
}

for meta in linux-image-cloud-amd64 linux-image-6.12-cloud-amd64 linux-image-6.12-cloud-arm64; do
	arch=${meta##*-}
	apt "$arch"
	package=$(apt-cache $apt depends "$meta" | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')
	[ -n "$package" ] || { echo "fetch.sh: no package $meta: apt-get update, and bookworm-security among the sources" >&2; exit 1; }
	version=${package#linux-image-}
	download "$package" "boot/vmlinuz-$version" "vmlinuz-$version"
	download busybox-static bin/busybox "busybox-$arch"
	chmod +x "busybox-$arch"
done
