//go:build !wasip1

package tiercel

func alloc(n int) []byte { return make([]byte, n) }

// allocText returns n bytes that pad bytes follow.
func allocText(n int) []byte { return make([]byte, n+pad)[:n:n] }

func newDocument() *document { return new(document) }

func roomForNodes(n int) []node { return make([]node, 0, n/10+4) }

func keepNodes(nodes []node) []node { return nodes }

func roomForTexts() []string { return nil }
