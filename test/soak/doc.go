// Package soak runs a sensor under millions of forks and opens and says whether its memory and its kernel maps stay as they are. The test has
// the build tag soak, needs root, and is a target of its own: make soak.
package soak
