// Package sensor turns what the kernel saw into alerts and events: kernel records go through the process table (sensor/process), get the
// identity of their container (sensor/container), are presented to the rules as fields (sensor/extract), and what matches leaves as lines
// and requests (sensor/output) and as CloudEvents on the bus. Loading programs and reading rings is sensor/kernel's.
//
// Read Sensor first, then pipeline.go, which is the way of one event.
package sensor
