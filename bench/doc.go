// Package bench holds the benchmarks that say what Tiercel costs next to something else: each measures its baseline in the same run. They
// need the build tag bench; make bench runs them. Benchmarks of a single package stand beside it.
package bench
