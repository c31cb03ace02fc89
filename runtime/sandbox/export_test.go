package sandbox

import "testing"

// Rewritten is what a module is rewritten to.
func Rewritten(t testing.TB, bin []byte) []byte {
	t.Helper()
	r, err := rewrite(bin)
	if err != nil {
		t.Fatal(err)
	}
	return r.module
}

// TestCache is the folder that all tests of this package keep compiled modules in.
var TestCache string
