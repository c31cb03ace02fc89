// Package e2e tests the whole program from the outside: the real binary on this kernel, real containers and namespaces, and where the
// test needs one a real kube-apiserver. The tests have the build tag e2e and need root, eBPF, runc and busybox-static.
package e2e
