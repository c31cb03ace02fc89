//go:build kernel && !amd64

package kernel

// Only amd64 has calls without a directory.

func legacyOpens() error { return nil }

func legacyCases(string) []openCase { return nil }
