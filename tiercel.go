// Package tiercel is the root of the module: it holds the test of who may import whom, and nothing else. The program is cmd/tiercel;
// ARCHITECTURE.md says where to read first.
package tiercel
