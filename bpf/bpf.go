// Package bpf holds the eBPF programs of the sensor: the C sources in c, and the objects and Go made from them, which are committed, so
// that building needs no clang. It attaches and decodes nothing: sensor/kernel loads SensorSpecs, sensor/decode reads the records.
package bpf

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -type head -type section -type open_info -type socket_info -type exec_info -type fork_info -type call_layout -type kind -type tag -type head_flag -type call_program -type call_flag -type call -type texts -type sketch -type sketch_flag -type filter_count -type filter_stage -type verdict -type record_interest -type cgroup_kind -type socket_kind -type socket_protocol -type socket_truth -type ring -type loss Sensor c/sensor.bpf.c -- -O2 -g -mcpu=v3 -Wall -Werror
