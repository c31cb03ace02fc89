//go:build wasip1

package tiercel

import "unsafe"

// An event's text, the index of it, requests and responses are in one piece of memory that warming has made: the state an event begins
// with is the same each time, so taking the next bytes of it is all that allocating is.
var (
	arena   []byte
	arenaAt int

	documents   [16]document // the first ones of an event
	documentsAt int
)

const arenaSize = 64 << 10

// alloc returns n bytes of any content.
func alloc(n int) []byte {
	if n > len(arena)-arenaAt {
		return make([]byte, n)
	}
	b := arena[arenaAt : arenaAt+n : arenaAt+n]
	arenaAt += (n + 7) &^ 7
	return b
}

func newDocument() *document {
	if documentsAt == len(documents) {
		return new(document)
	}
	documentsAt++
	return &documents[documentsAt-1]
}

// tail returns the n bytes, if there are as many, that alloc will return next.
func tail(n int) []byte { return arena[min(arenaAt, len(arena)):min(arenaAt+n, len(arena))] }

// allocText returns n bytes that pad bytes follow.
func allocText(n int) []byte {
	b := alloc(n + pad)
	b[n] = 0
	return b[:n:n]
}

// roomForNodes returns where an index may be made. What of it keepNodes is not given is used again.
func roomForNodes(int) []node {
	free := tail(arenaSize)
	if len(free) < nodeSize {
		return nil
	}
	return unsafe.Slice((*node)(unsafe.Pointer(unsafe.SliceData(free))), len(free)/nodeSize)[:0]
}

func keepNodes(nodes []node) []node {
	if free := tail(arenaSize); len(free) > 0 && unsafe.Pointer(unsafe.SliceData(nodes)) == unsafe.Pointer(unsafe.SliceData(free)) {
		alloc(len(nodes) * nodeSize)
		return nodes[:len(nodes):len(nodes)]
	}
	return nodes
}

// texts is where the first list of texts is, of which the collector has to know.
var (
	texts      [16]string
	textsTaken bool
)

func roomForTexts() []string {
	if textsTaken {
		return nil
	}
	textsTaken = true
	return texts[:0]
}
