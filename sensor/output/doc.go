// Package output writes alerts to people and other programs: lines on a stream, lines in a file that may be rotated, requests to an HTTP
// server. Each output has a bounded queue of its own, so that a slow one costs neither the sensor nor another; what does not fit is
// dropped and counted. The bus is no output in this sense: see package bus.
//
// Read Output first.
package output
