package container

import (
	"encoding/binary"
	"errors"
)

// Wire types of protocol buffers.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

var errWire = errors.New("malformed protocol buffer")

// eachField calls f for each field of the message b: numbers in n, strings and messages in v.
func eachField(b []byte, f func(num int, n uint64, v []byte) error) error {
	for len(b) > 0 {
		tag, k := binary.Uvarint(b)
		if k <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
			return errWire
		}
		b = b[k:]
		var n uint64
		var v []byte
		switch tag & 7 {
		case wireVarint:
			if n, k = binary.Uvarint(b); k <= 0 {
				return errWire
			}
			b = b[k:]
		case wire64:
			if len(b) < 8 {
				return errWire
			}
			n, b = binary.LittleEndian.Uint64(b), b[8:]
		case wire32:
			if len(b) < 4 {
				return errWire
			}
			n, b = uint64(binary.LittleEndian.Uint32(b)), b[4:]
		case wireBytes:
			if n, k = binary.Uvarint(b); k <= 0 || n > uint64(len(b)-k) {
				return errWire
			}
			v, b = b[k:k+int(n)], b[k+int(n):]
		default:
			return errWire
		}
		if err := f(int(tag>>3), n, v); err != nil {
			return err
		}
	}
	return nil
}

// mapEntry reads an entry of a map of strings.
func mapEntry(b []byte) (key, value string, err error) {
	err = eachField(b, func(num int, _ uint64, v []byte) error {
		switch num {
		case 1:
			key = string(v)
		case 2:
			value = string(v)
		}
		return nil
	})
	return key, value, err
}
