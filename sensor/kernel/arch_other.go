//go:build !amd64

package kernel

// hasIA32 says whether 32-bit x86 programs can run here.
const hasIA32 = false
