// Package k8saudit makes events of Kubernetes audit records, for rules of the source k8s_audit: Parse reads what an API server sends or
// logs, and Event gives the ka.*, jevt.* and json.* fields of Falco's k8saudit and json plugins.
//
// Fields mean what their description says; where Falco's plugin does otherwise the code says so. Receiving records over HTTP is left to the
// sensor. Read Parse first.
package k8saudit
