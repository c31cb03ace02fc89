package capability

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
)

var pods = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

const (
	targetTTL     = 5 * time.Second // a pod may go any time, but the node of a UID never changes
	targetEntries = 4096
)

// targetCache remembers which targets were found to be true, so that the writes of one invocation ask once.
type targetCache struct {
	mu   sync.Mutex
	seen map[targetKey]time.Time // guarded by mu
}

type targetKey struct{ node, namespace, pod, uid string }

// checkTarget makes sure, before a write, that the event speaks of a pod the cluster knows by that UID on that node: whoever can publish
// as one node must not be able to have pods of another one acted upon. The error wraps ErrForged, or says that the pod is gone.
func (c *Cluster) checkTarget(ctx context.Context, s Scope) error {
	t := s.Target
	if t.PodUID == "" {
		if (t.Pod != "" || t.Namespace != "") && s.Grants.Reach != ReachCluster {
			return errNoTargetUID
		}
		return nil
	}
	key := targetKey{t.Node, t.Namespace, t.Pod, t.PodUID}
	if c.targets.fresh(key, c.now()) {
		return nil
	}
	pod, err := c.own.on(pods, t.Namespace).Get(ctx, t.Pod, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return abiErrorf(abi.CodeNotFound, "the event's pod %s/%s is gone", t.Namespace, t.Pod)
	}
	if err != nil {
		return kubeError(fmt.Sprintf("check that pod %s/%s is on node %q", t.Namespace, t.Pod, t.Node), err)
	}
	return c.confirmTarget(s, pod)
}

// confirmTarget is checkTarget where the event's pod was just read.
func (c *Cluster) confirmTarget(s Scope, pod *unstructured.Unstructured) error {
	t := s.Target
	if err := matchTarget(t, pod); err != nil {
		return err
	}
	c.targets.add(targetKey{t.Node, t.Namespace, t.Pod, t.PodUID}, c.now())
	return nil
}

func matchTarget(t bus.Target, pod *unstructured.Unstructured) error {
	if string(pod.GetUID()) != t.PodUID {
		return abiErrorf(abi.CodeNotFound, "the event's pod %s/%s is gone: the name belongs to another pod now", t.Namespace, t.Pod)
	}
	node, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName")
	if t.Node != "" && node != t.Node {
		return fmt.Errorf("%w: pod %s/%s is on node %q, the event says %q", ErrForged, t.Namespace, t.Pod, node, t.Node)
	}
	return nil
}

func (tc *targetCache) fresh(k targetKey, now time.Time) bool {
	tc.mu.Lock()
	defer tc.mu.Unlock()
	at, ok := tc.seen[k]
	return ok && now.Sub(at) < targetTTL
}

func (tc *targetCache) add(k targetKey, now time.Time) {
	tc.mu.Lock()
	defer tc.mu.Unlock()
	if tc.seen == nil || len(tc.seen) >= targetEntries {
		tc.seen = map[targetKey]time.Time{}
	}
	tc.seen[k] = now
}
