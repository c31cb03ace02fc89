package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/tiercel-project/tiercel/bus"
)

// A record is a message on disk: a mark, the length and the checksum of what follows, then its number, subject, id and data.
type record struct {
	seq     uint64
	subject string
	id      string
	data    []byte
}

const (
	mark       = 0x9c7f51e2
	headSize   = 12
	fixedSize  = 12 // number and two lengths
	maxBody    = fixedSize + 2*(1<<16) + bus.MaxEventSize
	searchSize = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged means that there is no record where one should be.
var errDamaged = errors.New("damaged record")

// appendRecord appends r as it is on disk.
func appendRecord(b []byte, r *record) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, mark)
	b = append(b, make([]byte, headSize-4)...)
	b = binary.LittleEndian.AppendUint64(b, r.seq)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.subject)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.id)))
	b = append(append(append(b, r.subject...), r.id...), r.data...)
	body := b[start+headSize:]
	binary.LittleEndian.PutUint32(b[start+4:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[start+8:], crc32.Checksum(body, castagnoli))
	return b
}

// readRecord reads the record at offset of f, whose data end at end, and returns how long it is. It returns io.EOF at the end and errDamaged
// where there is no record.
func readRecord(f io.ReaderAt, offset, end int64) (*record, int64, error) {
	if offset >= end {
		return nil, 0, io.EOF
	}
	var head [headSize]byte
	if offset+headSize > end {
		return nil, 0, errDamaged
	}
	if _, err := f.ReadAt(head[:], offset); err != nil {
		return nil, 0, damaged(err)
	}
	n := int64(binary.LittleEndian.Uint32(head[4:]))
	if binary.LittleEndian.Uint32(head[:]) != mark || n < fixedSize || n > maxBody || offset+headSize+n > end {
		return nil, 0, errDamaged
	}
	body := make([]byte, n)
	if _, err := f.ReadAt(body, offset+headSize); err != nil {
		return nil, 0, damaged(err)
	}
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(head[8:]) {
		return nil, 0, errDamaged
	}
	subject, id := int64(binary.LittleEndian.Uint16(body[8:])), int64(binary.LittleEndian.Uint16(body[10:]))
	if fixedSize+subject+id > n {
		return nil, 0, errDamaged
	}
	rest := body[fixedSize:]
	return &record{
		seq: binary.LittleEndian.Uint64(body), subject: string(rest[:subject]), id: string(rest[subject : subject+id]), data: rest[subject+id:],
	}, headSize + n, nil
}

// damaged makes an early end a damage: the file is shorter than it was.
func damaged(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errDamaged
	}
	return err
}

// findRecord returns the offset of the first whole record behind offset; end if there is none.
func findRecord(f io.ReaderAt, offset, end int64) (int64, error) {
	want := binary.LittleEndian.AppendUint32(nil, mark)
	buf := make([]byte, searchSize)
	for offset++; offset < end; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), end-offset)], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		at := bytes.Index(buf[:n], want)
		switch {
		case at >= 0:
			offset += int64(at)
			if _, _, err := readRecord(f, offset, end); err == nil {
				return offset, nil
			}
			offset++
		case n < len(want):
			return end, nil
		default:
			offset += int64(n - len(want) + 1)
		}
	}
	return end, nil
}
