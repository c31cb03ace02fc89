// Package responders tests the bundled responders end to end on a real Kubernetes API: an event on the bus, the effect in the cluster with no
// other rights than the document's grants, and the revert. Only the runtime is between; the rest of the program is test/e2e's. The tests
// have the build tag kube.
package responders
