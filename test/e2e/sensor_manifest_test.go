//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"io"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tiercel-project/tiercel/test/kubetest"
)

// resourceOf is where the API server has objects of a kind of the manifest, and whether they are in a namespace.
var resourceOf = map[string]struct {
	gvr        schema.GroupVersionResource
	namespaced bool
}{
	"Namespace":          {schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, false},
	"ServiceAccount":     {schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, true},
	"ClusterRole":        {schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, false},
	"ClusterRoleBinding": {schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}, false},
	"DaemonSet":          {schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, true},
}

// An API server takes the manifest as it is, every field of it, and lets the sensor read pods and nothing else.
func TestSensorManifest(t *testing.T) {
	config, err := clientcmd.BuildConfigFromFlags("", kubetest.Start(t).Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for in := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(sensorManifest(t)), 4096); ; {
		var o unstructured.Unstructured
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		r, ok := resourceOf[o.GetKind()]
		if !ok {
			t.Fatalf("the test does not know what a %s is", o.GetKind())
		}
		var to dynamic.ResourceInterface = dyn.Resource(r.gvr)
		if r.namespaced {
			to = dyn.Resource(r.gvr).Namespace(o.GetNamespace())
		}
		if _, err := to.Create(t.Context(), &o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
			t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		verb, resource string
		want           bool
	}{
		{"get", "pods", true},
		{"list", "pods", true},
		{"watch", "pods", true},
		{"delete", "pods", false},
		{"create", "pods", false},
		{"get", "secrets", false},
		{"list", "nodes", false},
	} {
		review, err := client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "system:serviceaccount:tiercel:tiercel-sensor", Groups: []string{"system:serviceaccounts", "system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: tt.verb, Resource: tt.resource, Namespace: "shop"},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed != tt.want {
			t.Errorf("%s %s: allowed %v, want %v", tt.verb, tt.resource, review.Status.Allowed, tt.want)
		}
	}
}
