// Package manifest reads and writes the manifest of a module: the custom section of [abi.ManifestSection], and the manifest.json it is
// made from. It also checks a function's configuration against the manifest's schema. Hosts and build commands use it; guests do not.
// Read [Append] first.
package manifest

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tiercel-project/tiercel/functions/abi"
)

// Errors of Read and Append, wrapped.
var (
	ErrNotWasm    = errors.New("not a WebAssembly module")
	ErrNoManifest = errors.New("no manifest section " + abi.ManifestSection)
)

const header = "\x00asm\x01\x00\x00\x00"

// Read returns the manifest of a module. Errors: ErrNotWasm, ErrNoManifest, or what is wrong with the manifest.
func Read(wasm []byte) (abi.Manifest, error) {
	var found []byte
	err := sections(wasm, func(_, _ int, name string, body []byte) error {
		if name != abi.ManifestSection {
			return nil
		}
		if found != nil {
			return errors.New("two manifest sections")
		}
		found = body
		return nil
	})
	if err != nil {
		return abi.Manifest{}, err
	}
	if found == nil {
		return abi.Manifest{}, ErrNoManifest
	}
	return Parse(found)
}

// Append returns a copy of the module wasm with the manifest that json holds as its section, in place of one it had. The bytes of json are
// kept as they are.
func Append(wasm, json []byte) ([]byte, error) {
	if _, err := Parse(json); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	out := make([]byte, 0, len(wasm)+len(json)+32)
	from := 0
	err := sections(wasm, func(start, end int, name string, _ []byte) error {
		if name == abi.ManifestSection {
			out = append(out, wasm[from:start]...)
			from = end
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out = append(out, wasm[from:]...)
	body := binary.AppendUvarint(nil, uint64(len(abi.ManifestSection)))
	body = append(append(body, abi.ManifestSection...), json...)
	out = binary.AppendUvarint(append(out, 0), uint64(len(body)))
	return append(out, body...), nil
}

// sections calls visit for every section with its extent in wasm; name and body are those of a custom section, otherwise empty.
func sections(wasm []byte, visit func(start, end int, name string, body []byte) error) error {
	if len(wasm) < len(header) || string(wasm[:len(header)]) != header {
		return ErrNotWasm
	}
	for p := len(header); p < len(wasm); {
		start, id := p, wasm[p]
		size, n := uvarint32(wasm[p+1:])
		if n == 0 || uint64(size) > uint64(len(wasm)-p-1-n) {
			return fmt.Errorf("%w: section at byte %d is cut short", ErrNotWasm, start)
		}
		p += 1 + n
		body, name := wasm[p:p+int(size)], ""
		p += int(size)
		if id == 0 {
			l, n := uvarint32(body)
			if n == 0 || uint64(l) > uint64(len(body)-n) {
				return fmt.Errorf("%w: custom section at byte %d has no name", ErrNotWasm, start)
			}
			name, body = string(body[n:n+int(l)]), body[n+int(l):]
		}
		if err := visit(start, p, name, body); err != nil {
			return err
		}
	}
	return nil
}

// uvarint32 reads an unsigned LEB128 number of 32 bits; n is 0 if there is none.
func uvarint32(b []byte) (v uint32, n int) {
	u, n := binary.Uvarint(b[:min(len(b), 5)])
	if n <= 0 || u > 1<<32-1 {
		return 0, 0
	}
	return uint32(u), n
}
