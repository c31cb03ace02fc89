// Package kernels runs the kernel tests of the sensor on other kernels than the machine's own: Debian's, booted by QEMU under software
// emulation from Debian's packages. make kernels fetches those and runs the tests, which have the build tag kernels.
package kernels
