#!/bin/sh
# Makes the modules of this folder from their sources, each with a manifest of its name, with Debian's clang-14, lld-14 and wabt.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
finish() { # module name: appends the custom section; it is shorter than 128 bytes, so that its size is one
	manifest=$(printf '{"abi":"tiercel_v1","name":"%s","version":"1","needs":{}}' "$(basename "$2" .wasm)")
	{
		cat "$1"
		printf '\000'
		printf "\\$(printf %03o $((17 + ${#manifest})))"
		printf '\020tiercel.manifest%s' "$manifest"
	} >"$2"
}
# Linked by hand: clang has wasm-opt change what it links, where that is installed.
clang-14 --target=wasm32 -Os -nostdlib -ffreestanding -fno-builtin -Wall -Wextra -Werror -c -o "$tmp/probe.o" probe.c
wasm-ld-14 --no-entry --strip-all -z stack-size=65536 -o "$tmp/probe.wasm" "$tmp/probe.o"
finish "$tmp/probe.wasm" probe.wasm
for source in *.wat refused/*.wat; do
	wat2wasm --enable-annotations "$source" -o "$tmp/module.wasm"
	finish "$tmp/module.wasm" "${source%.wat}.wasm"
done
