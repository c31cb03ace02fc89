package load

// A snippet is the source line of a problem.
type snippet struct {
	line string
}
