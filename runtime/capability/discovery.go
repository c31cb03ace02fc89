package capability

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/tiercel-project/tiercel/functions/abi"
)

const (
	discoveryTTL     = 10 * time.Minute
	discoveryEntries = 256 // group-versions remembered
)

// discovery knows which resources of a group-version are namespaced, as the API server says. Answers are kept for discoveryTTL.
type discovery struct {
	client *rest.RESTClient
	now    func() time.Time

	mu    sync.Mutex
	known map[schema.GroupVersion]discovered // guarded by mu
}

type discovered struct {
	at        time.Time
	resources map[string]metav1.APIResource // by name, subresources as "pods/eviction"
}

// resource returns what the API server says about a resource or "resource/subresource". A group-version or resource that is not there
// is an *abi.Error with CodeNotFound.
func (d *discovery) resource(ctx context.Context, gv schema.GroupVersion, name string) (metav1.APIResource, error) {
	if r, fresh, ok := d.cached(gv, name); ok && fresh {
		return r, nil
	}
	var list metav1.APIResourceList
	path := "/apis/" + gv.String()
	if gv.Group == "" {
		path = "/api/" + gv.Version
	}
	if err := d.client.Get().AbsPath(path).Do(ctx).Into(&list); err != nil {
		return metav1.APIResource{}, kubeError(fmt.Sprintf("look up %s", gv), err)
	}
	d.remember(gv, list.APIResources)
	if r, _, ok := d.cached(gv, name); ok {
		return r, nil
	}
	return metav1.APIResource{}, abiErrorf(abi.CodeNotFound, "the cluster has no resource %q in %s%s", name, gv, nearest(name, list.APIResources))
}

func (d *discovery) cached(gv schema.GroupVersion, name string) (r metav1.APIResource, fresh, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.known[gv]
	if !ok {
		return r, false, false
	}
	r, ok = k.resources[name]
	return r, d.now().Sub(k.at) < discoveryTTL, ok
}

func (d *discovery) remember(gv schema.GroupVersion, list []metav1.APIResource) {
	byName := make(map[string]metav1.APIResource, len(list))
	for _, r := range list {
		byName[r.Name] = r
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= discoveryEntries {
		clear(d.known) // a guest that asks for hundreds of groups pays with look-ups, not with our memory
	}
	if d.known == nil {
		d.known = map[schema.GroupVersion]discovered{}
	}
	d.known[gv] = discovered{at: d.now(), resources: byName}
}

// nearest helps whoever wrote a kind or a singular where the API wants the plural.
func nearest(name string, list []metav1.APIResource) string {
	for _, r := range list {
		if strings.EqualFold(r.Kind, name) || strings.EqualFold(r.SingularName, name) || strings.EqualFold(r.Name, name) {
			return fmt.Sprintf("; do you mean %q?", r.Name)
		}
	}
	return ""
}
